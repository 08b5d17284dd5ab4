"""The options of a new sky map, and the tiling and the pixels they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.options import Angle, CommaList, Number
from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from astropy.wcs import WCS

    from skytool.io.sources import ExposureSource
    from skytool.models.skymap.skymap import Tiling, TractLayout

F = TypeVar("F", bound="Callable[..., Any]")

_PAIR = CommaList(click.IntRange(min=1), length=2, name="NX,NY")
_ANGLES = CommaList(Number(), name="DEG,...")

_OPTIONS = (
    click.option(
        "--kind",
        type=click.Choice(
            ["discrete", "rings", "dodeca", "equat", "healpix"], case_sensitive=False
        ),
        default="discrete",
        help="How the sky is divided.",
    ),
    click.option(
        "--ra-list", type=_ANGLES, help="discrete: right ascensions of the tracts, ICRS [deg]."
    ),
    click.option("--dec-list", type=_ANGLES, help="discrete: declinations of the tracts [deg]."),
    click.option("--radius-list", type=_ANGLES, help="discrete: radii of the tracts [deg]."),
    click.option(
        "--border-size",
        type=Number(minimum=0),
        default=0.0,
        help="discrete, from images: what is added to the radius of the tract [deg].",
    ),
    click.option(
        "--num-rings", type=click.IntRange(min=1), help="rings: rings beside the polar caps."
    ),
    click.option(
        "--ra-start",
        type=Number(),
        default=0.0,
        help="rings: right ascension of the first tract of every ring [deg].",
    ),
    click.option(
        "--with-tracts-on-poles", is_flag=True, help="dodeca: a tract, not a vertex, on each pole."
    ),
    click.option(
        "--num-tracts", type=click.IntRange(min=2), default=4, help="equat: tracts of the band."
    ),
    click.option(
        "--dec-range",
        type=CommaList(Number(), length=2, name="DEC,DEC"),
        default="-1.25,1.25",
        help="equat: ends of the band [deg].",
    ),
    click.option(
        "--log2-n-side",
        type=click.IntRange(min=0),
        default=0,
        help="healpix: level of the pixels, of which each is a tract.",
    ),
    click.option("--nest", is_flag=True, help="healpix: number the tracts in the nested scheme."),
    click.option(
        "--pixel-scale",
        type=Angle("arcsec", positive=True),
        help="Side of a pixel [arcsec]; by default 0.333, with dodeca 0.2.",
    ),
    click.option(
        "--projection", help="FITS code of the projection; by default STG, with equat CEA."
    ),
    click.option(
        "--rotation",
        type=Number(),
        help="Angle from the north to the y axis of a tract [deg]; by default 0, with healpix 45.",
    ),
    click.option(
        "--tract-overlap",
        type=Number(minimum=0),
        help="How far tracts reach over each other [deg]; by default 1, with dodeca 3.5, around "
        "images 0.",
    ),
    click.option(
        "--tract-builder",
        type=click.Choice(["legacy", "cells"], case_sensitive=False),
        default="legacy",
        help="How tracts are cut: into patches whose borders end with the tract, or into patches "
        "made of cells.",
    ),
    click.option(
        "--patch-inner-dimensions",
        type=_PAIR,
        default="4000,4000",
        help="legacy: width and height of a patch without its border [pixel].",
    ),
    click.option(
        "--patch-border",
        type=click.IntRange(min=0),
        help="legacy: border of a patch [pixel]; by default 100, with dodeca 250.",
    ),
    click.option(
        "--cell-inner-dimensions",
        type=_PAIR,
        default="150,150",
        help="cells: width and height of a cell without its border [pixel].",
    ),
    click.option(
        "--cell-border",
        type=click.IntRange(min=0),
        default=50,
        help="cells: border of a cell [pixel].",
    ),
    click.option(
        "--num-cells-per-patch-inner",
        type=click.IntRange(min=1),
        default=20,
        help="cells: cells along a side of a patch without its border.",
    ),
    click.option(
        "--num-cells-in-patch-border",
        type=click.IntRange(min=0),
        default=1,
        help="cells: cells added on each side of a patch.",
    ),
)

_OF_KIND = {
    "discrete": ("ra_list", "dec_list", "radius_list", "border_size"),
    "rings": ("num_rings", "ra_start"),
    "dodeca": ("with_tracts_on_poles",),
    "equat": ("num_tracts", "dec_range"),
    "healpix": ("log2_n_side", "nest"),
}
_OF_BUILDER = {
    "legacy": ("patch_inner_dimensions", "patch_border"),
    "cells": (
        *("cell_inner_dimensions", "cell_border"),
        *("num_cells_per_patch_inner", "num_cells_in_patch_border"),
    ),
}
_LISTS = ("ra_list", "dec_list", "radius_list")
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "": {
        "pixel_scale": 0.333,
        "projection": "STG",
        "rotation": 0.0,
        "tract_overlap": 1.0,
        "patch_border": 100,
    },
    "dodeca": {"pixel_scale": 0.2, "tract_overlap": 3.5, "patch_border": 250},
    "equat": {"projection": "CEA"},
    "healpix": {"rotation": 45.0},
    "images": {"tract_overlap": 0.0},
}


def sky_map_options(function: F) -> F:
    """Add the options of a new sky map, which the command gets by their names."""
    decorated: Any = function
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)


def values_of(
    ctx: click.Context, settings: Mapping[str, Any], *, has_images: bool
) -> dict[str, Any]:
    """Return the settings in force, with the defaults of the kind of sky map.

    Raises
    ------
    click.UsageError
        If an option is missing, or has no use.
    """
    kind = settings["kind"]
    _refuse_unused(ctx, _OF_KIND, kind, f"--kind {kind}")
    builder = settings["tract_builder"]
    _refuse_unused(ctx, _OF_BUILDER, builder, f"--tract-builder {builder}")
    given = [_option(name) for name in _LISTS if settings[name] is not None]
    if has_images and kind != "discrete":
        raise click.UsageError(f"images do nothing with --kind {kind}.", ctx)
    if has_images and given:
        raise click.UsageError(f"{given[0]} and images both place the tracts; give one.", ctx)
    if kind == "discrete" and not has_images:
        missing = [_option(name) for name in _LISTS if settings[name] is None]
        if missing:
            what = " and ".join(missing)
            raise click.UsageError(f"a discrete sky map needs {what}, or images.", ctx)
        _refuse(ctx, "border_size", "a list of tracts")
    if kind == "rings" and settings["num_rings"] is None:
        raise click.UsageError("--kind rings needs --num-rings.", ctx)
    defaults = {**_DEFAULTS[""], **_DEFAULTS.get(kind, {})}
    if has_images:
        defaults |= _DEFAULTS["images"]
    unset = {name: value for name, value in defaults.items() if settings[name] is None}
    return {**settings, **unset}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _refuse_unused(
    ctx: click.Context, table: Mapping[str, Sequence[str]], chosen: str, what: str
) -> None:
    """Refuse the options of other kinds than the chosen one."""
    for kind, names in table.items():
        if kind != chosen:
            for name in names:
                _refuse(ctx, name, what)


def _refuse(ctx: click.Context, name: str, what: str) -> None:
    """Refuse an option of the command line."""
    from click.core import ParameterSource

    if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"{_option(name)} does nothing with {what}.", ctx)


def tiling_of(values: Mapping[str, Any], sources: Sequence[ExposureSource]) -> Tiling:
    """Return the tiling that the settings mean.

    Raises
    ------
    IncompatibleError
        If a value is impossible, or the images cannot be enclosed.
    """
    from skytool.models.skymap.skymap import (
        DiscreteTiling,
        DodecaTiling,
        EquatTiling,
        HealpixTiling,
        RingsTiling,
        enclosing_tiling,
    )

    kind = values["kind"]
    if kind == "rings":
        return RingsTiling(values["num_rings"], values["ra_start"])
    if kind == "dodeca":
        return DodecaTiling(values["with_tracts_on_poles"])
    if kind == "equat":
        return EquatTiling(values["num_tracts"], values["dec_range"])
    if kind == "healpix":
        return HealpixTiling(values["log2_n_side"], values["nest"])
    if sources:
        footprints = [(wcs_of(source), source.shape) for source in sources]
        return enclosing_tiling(footprints, border=values["border_size"])
    return DiscreteTiling(*(values[name] for name in _LISTS))


def layout_of(values: Mapping[str, Any]) -> TractLayout:
    """Return the pixels that the settings mean.

    Raises
    ------
    IncompatibleError
        If a value is impossible.
    """
    from skytool.models.skymap.skymap import PatchLayout, TractLayout

    if values["tract_builder"] == "cells":
        patches = PatchLayout.of_cells(
            cell_inner=values["cell_inner_dimensions"][::-1],
            cell_border=values["cell_border"],
            inner_cells=values["num_cells_per_patch_inner"],
            border_cells=values["num_cells_in_patch_border"],
        )
    else:
        border = values["patch_border"]
        inner = values["patch_inner_dimensions"][::-1]
        patches = PatchLayout(inner=inner, border=(border, border))
    return TractLayout(
        pixel_scale=values["pixel_scale"],
        projection=values["projection"].upper(),
        rotation=values["rotation"],
        overlap=values["tract_overlap"],
        patches=patches,
    )


def wcs_of(source: ExposureSource) -> WCS:
    """Return the celestial coordinates of an image.

    Raises
    ------
    IncompatibleError
        If it has none.
    """
    wcs = source.wcs()
    if wcs is None:
        raise IncompatibleError(
            f"{source.name} has no celestial WCS.", hint="Solve its astrometry, or leave it out."
        )
    return wcs
