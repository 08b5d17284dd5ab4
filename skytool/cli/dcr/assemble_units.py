"""The one unit of work of ``skytool dcr-assemble``, planned from headers."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from skytool.cli.dcr.options import sky_center, warn_of_missing_zenith
from skytool.cli.stage_files import Unit, run_units
from skytool.errors import IncompatibleError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.dcr.options import RefractionChoice
    from skytool.cli.options import RunOptions
    from skytool.core.dcr.iterate import IterativeRule
    from skytool.core.refraction.atmosphere import Variant
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.dcr.bands import Band
    from skytool.models.observation.pointing import Pointing
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.dcr.config import DcrConfig

STAGE = "dcr-assemble"
COLUMNS = ("inputs", "subfilters", "residual_before", "residual_after", "steps")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AssembleTask:
    """Warps to make a model of.

    Parameters
    ----------
    sources : tuple of ExposureSource
        The warps.
    pointings : tuple of Pointing
        Where the zenith was in each.
    skipped : tuple of ExposureSource
        Warps left out, because nobody knows that.
    template : ExposureSource or None
        Coadd to begin with.
    filter_name : str
        Filter of all.
    band : Band
        Its wavelengths.
    reference_wavelength : float
        Wavelength of light that is in its place [nm].
    variant : str
        Formula of the refraction.
    config : DcrConfig
        Settings of the stage.
    settings : tuple of SettingRecord
        All settings, for the record.
    output : str
        The product.
    overwrite : bool
        Whether it may be replaced.
    compress : str
        How it is compressed.
    jobs : int
        Worker processes for pieces of the sky.
    scheduler : str or None
        Dask scheduler instead.
    """

    sources: tuple[ExposureSource, ...]
    pointings: tuple[Pointing, ...]
    skipped: tuple[ExposureSource, ...]
    template: ExposureSource | None
    filter_name: str
    band: Band
    reference_wavelength: float
    variant: Variant
    config: DcrConfig
    settings: tuple[SettingRecord, ...]
    output: str
    overwrite: bool
    compress: str
    jobs: int
    scheduler: str | None


def assemble_units(
    inputs: Sequence[str],
    *,
    output: Path,
    choice: RefractionChoice,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Find the warps, check that they fit together, and make the model.

    Raises
    ------
    IncompatibleError
        If grids, filters, bands or units differ, or warps do not say where the zenith was.
    SkytoolError
        What reading, solving and writing raise.
    """
    from skytool.cli.dcr.assemble_tasks import make_model, model_is_current
    from skytool.io.filespec import FileSpec
    from skytool.io.sources import find_sources
    from skytool.models.records.provenance import SettingRecord

    config = config_of(settings)
    sources = [source for name in inputs for source in find_sources(name, reading)]
    template = _template(settings["template"], reading, sources[0])
    filter_name, band = _checked(sources, choice)
    pointings = _pointings(sources, choice)
    used = [place for place, pointing in enumerate(pointings) if pointing is not None]
    task = AssembleTask(
        sources=tuple(sources[place] for place in used),
        pointings=tuple(pointing for pointing in pointings if pointing is not None),
        skipped=tuple(s for place, s in enumerate(sources) if place not in used),
        template=template,
        filter_name=filter_name,
        band=band,
        reference_wavelength=choice.reference_wavelength or band.mean_wavelength,
        variant=choice.refraction,
        config=config,
        settings=tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        output=str(output),
        overwrite=run.may_replace,
        compress=run.compress,
        jobs=run.jobs,
        scheduler=run.scheduler,
    )
    read = sources if template is None else [*sources, template]
    curve = [] if choice.throughput is None else [str(FileSpec.parse(choice.throughput).path)]
    unit = Unit(
        name=str(output),
        inputs=tuple(dict.fromkeys([*(str(p) for s in read for p in s.files), *curve])),
        outputs=(output,),
        task=task,
        plan={
            "inputs": len(used),
            "shape": list(sources[0].shape),
            "wavelength_min": band.limits[0],
            "wavelength_max": band.limits[1],
            "airmass": [pointing.airmass for pointing in task.pointings],
        },
    )
    run_units(
        make_model, [unit], stage=STAGE, columns=COLUMNS, run=run, is_current=model_is_current
    )


def _checked(sources: Sequence[ExposureSource], choice: RefractionChoice) -> tuple[str, Band]:
    """Return filter and band of warps that fit together."""
    from skytool.models.observation.observation import observation_from_header
    from skytool.stages.coadd import check_warps

    filter_name = check_warps(sources)
    if sources[0].wcs() is None:
        raise IncompatibleError(
            f"{sources[0].name} has no celestial WCS, without which nobody knows the direction of "
            "the zenith."
        )
    band = choice.band_of(
        [(source.name, observation_from_header(source.header)) for source in sources]
    )
    _log.info("%s: %g to %g nm, %s", band.name or "band", *band.limits, band.source)
    return filter_name, band


def config_of(settings: dict[str, Any]) -> DcrConfig:
    """Return the settings of the stage."""
    from skytool.core.dcr.prior import ColourPrior, FluxPrior
    from skytool.core.dcr.region import LsqRule
    from skytool.models.mask import parse_planes
    from skytool.stages.dcr.config import DcrConfig

    prior = ColourPrior(
        amplitude=settings["colour_amplitude"],
        coherence=settings["colour_coherence"],
        floor=settings["colour_floor"],
    )
    return DcrConfig(
        solver=settings["solver"],
        num_subfilters=settings["num_subfilters"] or None,
        bad_planes=parse_planes(",".join(settings["bad_planes"])),
        lsq=LsqRule(
            prior=prior,
            flux_prior=FluxPrior(level=settings["flux_level"]),
            accuracy=settings["accuracy"],
            max_iterations=settings["max_solver_steps"],
            robust_sigma=settings["robust_sigma"],
            robust_amplitude=settings["robust_amplitude"],
            robust_rounds=settings["robust_rounds"],
            psf_aware=settings["psf_aware"] and settings["solver"] == "lsq",
        ),
        iterative=_iterative_rule(settings),
        iterative_planes=parse_planes(",".join(settings["convergence_mask_planes"])),
        subregion_size=settings["subregion_size"][::-1],
        border=settings["border"],
    )


def _iterative_rule(settings: dict[str, Any]) -> IterativeRule:
    """Return how steps are made: every field is an option of its name."""
    from dataclasses import fields

    from skytool.core.dcr.iterate import IterativeRule

    names = {field.name for field in fields(IterativeRule)} & set(settings)
    rule = IterativeRule(**{name: settings[name] for name in names})
    most, fewest = rule.max_num_iter, rule.min_num_iter
    if most is not None and fewest is not None and most < fewest:
        raise click.UsageError(
            f"--max-num-iter {most} is less than --min-num-iter {fewest}.",
            click.get_current_context(silent=True),
        )
    if rule.regularize_model_frequency > 0 and rule.regularization_width == 0:
        raise click.UsageError(
            "--regularize-model-frequency needs a --regularization-width of 1 or more.",
            click.get_current_context(silent=True),
        )
    return rule


def _template(
    name: str | None, reading: ReadOptions, first: ExposureSource
) -> ExposureSource | None:
    """Return the coadd to begin with, on the grid of the warps."""
    if name is None:
        return None
    from skytool.io.sources import find_sources
    from skytool.stages.match_bg.frames import common_frame

    found = find_sources(name, reading)
    if len(found) != 1:
        raise IncompatibleError(
            f"{name} holds {len(found)} images, not one.", hint="Give FILE[EXT]."
        )
    if not common_frame([first, found[0]]).is_single:
        raise IncompatibleError(
            f"{found[0].name} is not on the grid of {first.name}.",
            hint="Resample it: skytool warp --like.",
        )
    return found[0]


def _pointings(
    sources: Sequence[ExposureSource], choice: RefractionChoice
) -> list[Pointing | None]:
    """Return where the zenith was in each exposure, None for those that are left out."""
    from skytool.models.observation.observation import observation_from_header
    from skytool.models.observation.pointing import resolve_pointings

    found = resolve_pointings(
        [
            (source.name, observation_from_header(source.header), sky_center(source))
            for source in sources
        ],
        choice.pointing_options(),
        drop_incomplete=choice.drop_incomplete,
    )
    for source, pointing in zip(sources, found, strict=True):
        if pointing is None:
            warn_of_missing_zenith(source)
            continue
        for note in pointing.notes:
            warnings.warn(f"{source.name}: {note}.", SkytoolWarning, stacklevel=2)
        unknown = [name for name, origin in pointing.sources.items() if origin == "default"]
        if unknown:
            text = ", ".join(unknown)
            _log.info("%s: standard air, for the header has no %s", source.name, text)
    return found
