"""The options of ``skytool diffim`` that are about sources."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.config import OutputOption, RunOption
from skytool.cli.options import PLANES

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.stages.diffim.sources_config import SourcesConfig

F = TypeVar("F", bound="Callable[..., Any]")

_FILE = click.Path(dir_okay=False, path_type=Path)
_POSITIVE = click.FloatRange(min=0, min_open=True)
_NOT_NEGATIVE = click.FloatRange(min=0)
_COUNT = click.IntRange(min=0)

# option: (setting of the stage, other arguments of click)
_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "--do-subtract-sky/--no-do-subtract-sky": (
        "subtract_background",
        {"default": True, "help": "Take the sky that is left off the difference first."},
    ),
    "--sky-bin-size": (
        "background_size",
        {
            "type": click.IntRange(min=4),
            "default": 128,
            "help": "Side of the cells of that sky [pixel].",
        },
    ),
    "--sky-order": (
        "background_order",
        {
            "type": click.IntRange(min=-1, max=8),
            "default": 3,
            "help": "Order of the polynomial through the cells; -1 for a spline, which is also "
            "taken where the polynomial does not fit.",
        },
    ),
    "--threshold-value": (
        "threshold",
        {"type": _POSITIVE, "default": 5.0, "help": "Least significance of a source [sigma]."},
    ),
    "--source-filter": (
        "filter",
        {
            "type": click.Choice(["psf", "gaussian"], case_sensitive=False),
            "default": "psf",
            "help": "What the difference is filtered with before detection: its PSF, or a round "
            "Gaussian of the same size.",
        },
    ),
    "--do-scale-score/--no-do-scale-score": (
        "scale_score",
        {
            "default": True,
            "help": "Scale the noise of the score, and errors of fluxes, to the scatter on empty sky "
            "where they differ, as they do for noise that resampling has correlated.",
        },
    ),
    "--n-sigma-for-kernel": (
        "kernel_width",
        {"type": _POSITIVE, "default": 7.0, "help": "Full width of that Gaussian [sigma]."},
    ),
    "--min-pixels": (
        "min_pixels",
        {
            "type": click.IntRange(min=1),
            "default": 1,
            "help": "Least number of connected pixels in a source.",
        },
    ),
    "--n-sigma-to-grow": (
        "grow",
        {
            "type": _NOT_NEGATIVE,
            "default": 2.4,
            "help": "Radius by which footprints grow [standard deviation of the PSF].",
        },
    ),
    "--source-bad-planes": (
        "bad_planes",
        {
            "type": PLANES,
            "default": "NO_DATA,BAD,SAT,CR,EDGE,SAT_TEMPLATE",
            "help": "Planes of pixels without weight in the filter and in measurements.",
        },
    ),
    "--reject-peaks": (
        "reject_planes",
        {
            "type": PLANES,
            "default": "NO_DATA,SAT,EDGE",
            "help": "Planes of which no peak of a footprint may have any.",
        },
    ),
    "--bad-source-planes": (
        "remove_planes",
        {
            "type": PLANES,
            "default": "NO_DATA,BAD,SAT,EDGE,SAT_TEMPLATE,SPIKE",
            "help": "Planes that no source may have within a pixel of its position.",
        },
    ),
    "--keep-interpolated/--no-keep-interpolated": (
        "keep_interpolated",
        {"default": False, "help": "Keep sources whose pixels are all filled in."},
    ),
    "--aperture-radius": (
        "aperture",
        {"type": _POSITIVE, "default": 12.0, "help": "Radius of aperture fluxes [pixel]."},
    ),
    "--do-deblend/--no-do-deblend": (
        "deblend",
        {
            "default": True,
            "help": "List every significant peak of a footprint that is resolved from the others, "
            "and fit them together.",
        },
    ),
    "--deblend-distance": (
        "least_distance",
        {
            "type": _POSITIVE,
            "default": 1.0,
            "help": "Least distance of such peaks from brighter ones [FWHM].",
        },
    ),
    "--deblend-prominence": (
        "prominence",
        {
            "type": _NOT_NEGATIVE,
            "default": 3.0,
            "help": "By how much they must stand out of what is between [sigma].",
        },
    ),
    "--do-dipoles/--no-do-dipoles": (
        "dipoles",
        {"default": True, "help": "Fit two lobes to footprints with peaks of both signs."},
    ),
    "--dipole-equal-flux/--no-dipole-equal-flux": (
        "dipole_equal_flux",
        {"default": False, "help": "The lobes of a dipole have one flux."},
    ),
    "--max-dipole-separation": (
        "max_dipole_separation",
        {
            "type": _POSITIVE,
            "default": 5.0,
            "help": "Largest distance of the lobes of a dipole [standard deviation of the PSF].",
        },
    ),
    "--max-dipole-area": (
        "max_dipole_area",
        {"type": _COUNT, "default": 1200, "help": "Largest footprint of a dipole [pixel]."},
    ),
    "--do-forced-measurement/--no-do-forced-measurement": (
        "forced",
        {
            "default": True,
            "help": "Measure fluxes at the same positions on the science image and the template.",
        },
    ),
    "--sky-sources": (
        "sky_sources",
        {"type": _COUNT, "default": 0, "help": "Number of empty places to measure as well."},
    ),
    "--sky-source-radius": (
        "sky_radius",
        {"type": _POSITIVE, "default": 8.0, "help": "Radius of an empty place [pixel]."},
    ),
    "--sky-source-seed": (
        "seed",
        {"type": _COUNT, "default": 20261, "help": "Seed of the empty places."},
    ),
    "--raise-on-no-dia-sources/--no-raise-on-no-dia-sources": (
        "raise_on_no_sources",
        {"default": False, "help": "Fail where no source is found."},
    ),
}


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What is asked for of sources.

    Parameters
    ----------
    values : dict
        Settings by name.
    catalogue : Path or None
        File for the catalogue: FITS, or ECSV by its suffix.
    regions : Path or None
        File for DS9 regions.
    score : Path or None
        File for the score.
    locations : Path or None
        File for the table of places all over the image.
    n_locations, location_size : int
        Number of these places, and the side of the square around each [pixel].
    check : bool
        Whether the difference is to be tested.
    n_check : int
        Number of sources of this test.
    """

    values: dict[str, Any]
    catalogue: Path | None
    regions: Path | None
    score: Path | None
    locations: Path | None
    n_locations: int
    location_size: int
    check: bool
    n_check: int

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that will be written."""
        wanted = self.score, self.catalogue, self.regions, self.locations
        return tuple(path for path in wanted if path)

    def config(self) -> SourcesConfig:
        """Return the settings of the stage; a usage error if they are impossible."""
        from skytool.core.difference.dipole import DipoleRule
        from skytool.models.mask import parse_planes
        from skytool.stages.diffim.sources_config import SourcesConfig

        values = dict(self.values)
        for name in ("bad_planes", "reject_planes", "remove_planes"):
            values[name] = parse_planes(",".join(values[name]))
        order = values["background_order"]
        values["background_order"] = None if order < 0 else order
        values["dipole"] = DipoleRule(
            equal_flux=values.pop("dipole_equal_flux"),
            max_separation=values.pop("max_dipole_separation"),
        )
        values["remove_interpolated"] = not values.pop("keep_interpolated")
        try:
            return SourcesConfig(**values)
        except ValueError as error:
            raise click.UsageError(f"{error}.", click.get_current_context()) from error


def source_options(function: F) -> F:
    """Add the options of sources, which the command gets as ``source``."""

    @functools.wraps(function)
    def with_sources(*args: Any, **kwargs: Any) -> Any:
        source = SourceOptions(
            values={name: kwargs.pop(name) for name, _ in _SETTINGS.values()},
            catalogue=kwargs.pop("sources"),
            regions=kwargs.pop("regions"),
            score=kwargs.pop("score"),
            locations=kwargs.pop("location_metrics"),
            n_locations=kwargs.pop("n_locations"),
            location_size=kwargs.pop("location_size"),
            check=kwargs.pop("check"),
            n_check=kwargs.pop("check_sources"),
        )
        if source.outputs or source.check:
            source.config()  # what is impossible is said before anything is read
        return function(*args, source=source, **kwargs)

    decorated: Any = with_sources
    for declaration, (name, arguments) in reversed(_SETTINGS.items()):
        decorated = click.option(declaration, name, **arguments)(decorated)
    for option in reversed(_FILES):
        decorated = option(decorated)
    return cast("F", decorated)


_FILES = (
    click.option(
        "--score",
        cls=OutputOption,
        type=_FILE,
        metavar="FILE",
        help="File for the score: the difference filtered for point sources, its variance, and "
        "SNR, their signal-to-noise ratio of unit variance.",
    ),
    click.option(
        "--sources",
        cls=OutputOption,
        type=_FILE,
        metavar="FILE",
        help="File for the catalogue of sources; a table in text if it ends in .ecsv.",
    ),
    click.option(
        "--regions",
        cls=OutputOption,
        type=_FILE,
        metavar="FILE",
        help="File for circles around the sources, for DS9.",
    ),
    click.option(
        "--location-metrics",
        cls=OutputOption,
        type=_FILE,
        metavar="FILE",
        help="File for a table of the quality at places all over the image: levels, variances, "
        "kernel, density of sources and dipoles, masked parts.",
    ),
    click.option(
        "--n-locations",
        type=click.IntRange(min=1),
        default=100,
        help="Number of these places.",
    ),
    click.option(
        "--location-size",
        type=click.IntRange(min=1),
        default=200,
        help="Side of the square around each [pixel].",
    ),
    click.option(
        "--check",
        cls=RunOption,
        is_flag=True,
        help="Test the difference: put sources into the science image, subtract again, and "
        "report what comes back, and how the noise compares with the variance.",
    ),
    click.option(
        "--check-sources",
        cls=RunOption,
        type=click.IntRange(min=1),
        default=200,
        help="Number of sources of --check.",
    ),
)
