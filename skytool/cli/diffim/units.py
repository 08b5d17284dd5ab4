"""The work of ``skytool diffim``: read a pair, subtract, write what was asked for."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skytool.cli.diffim.options import stage_config
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import IncompatibleError, InputError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.diffim.sources import SourceOptions
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.exposure import Exposure
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.models.records.provenance import SettingRecord
    from skytool.stages.diffim import DiffimConfig, DiffimResult, SourceList
    from skytool.stages.diffim.sources import SourceReport

STAGE = "diffim"
COLUMNS = ("kernel_sum", "kernel_stars", "noise_factor", "residual_ratio", "n_sources")


@dataclass(frozen=True, kw_only=True)
class DiffimFiles:
    """Files of a difference.

    Parameters
    ----------
    science, template : str
        The pair.
    output : Path
        The difference.
    matched, kernel_out : Path or None
        Further products.
    kernel_in, catalog : str or None
        Further inputs.
    template_planes : mapping of str to (str or None)
        Planes of the template in other files.
    first_pixel : int or None
        Number of the first pixel in the positions of the catalogue.
    bad_flags : tuple of str
        Columns of the catalogue that mark sources as unfit.
    align : bool
        Whether the template is resampled if it is on another grid.
    preconvolve : bool
        Whether the score is made from the science image correlated with its PSF.
    """

    science: str
    template: str
    output: Path
    matched: Path | None
    kernel_out: Path | None
    kernel_in: str | None
    catalog: str | None
    template_planes: Mapping[str, str | None]
    first_pixel: int | None
    bad_flags: tuple[str, ...]
    align: bool
    preconvolve: bool

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that will be written."""
        wanted = (self.output, self.matched, self.kernel_out)
        return tuple(path for path in wanted if path is not None)

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """Files that are read beside the pair."""
        given = (self.kernel_in, self.catalog, *self.template_planes.values())
        return tuple(name for name in given if name is not None)


@dataclass(frozen=True, kw_only=True)
class DiffimTask:
    """One difference to make.

    Parameters
    ----------
    files : DiffimFiles
        What is read and written.
    science, template : ExposureSource
        The pair.
    config : DiffimConfig
        Settings of the stage.
    source : SourceOptions
        What is wanted of sources.
    settings : tuple of SettingRecord
        All settings, for the record.
    overwrite : bool
        Whether products may be replaced.
    compress : str
        How they are compressed.
    """

    files: DiffimFiles
    science: ExposureSource
    template: ExposureSource
    config: DiffimConfig
    source: SourceOptions
    settings: tuple[SettingRecord, ...]
    overwrite: bool
    compress: str


def diffim_units(
    files: DiffimFiles,
    *,
    source: SourceOptions,
    reading: ReadOptions,
    run: RunOptions,
    settings: dict[str, Any],
    recorded: Sequence[Setting],
) -> None:
    """Check the files and make the difference.

    Raises
    ------
    SkytoolError
        What reading, subtracting and writing raise.
    """
    from skytool.models.records.provenance import SettingRecord

    config = stage_config(settings)
    planes = files.template_planes
    of_template = replace(
        reading,
        hdu=None,
        weight=None,
        error=None,
        psf=planes["psf"],
        mask=planes["mask"],
        variance=planes["variance"],
    )
    task = DiffimTask(
        files=files,
        science=_source(files.science, reading),
        template=_source(files.template, of_template),
        config=config,
        source=source,
        settings=tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        overwrite=run.may_replace,
        compress=run.compress,
    )
    unit = Unit(
        name=files.science,
        inputs=(files.science, files.template, *files.side_inputs),
        outputs=(*files.outputs, *source.outputs),
        task=task,
        plan={"shape": list(task.science.shape)},
    )
    run_units(
        make_difference, [unit], stage=STAGE, columns=COLUMNS, run=run, is_current=_is_current
    )


def _source(name: str, options: ReadOptions) -> ExposureSource:
    """Return the one exposure that a name stands for.

    Raises
    ------
    InputError
        If the file holds several.
    """
    from skytool.io.sources import find_sources

    sources = find_sources(name, options)
    if len(sources) != 1:
        names = ", ".join(str(source.extension) for source in sources)
        raise InputError(f"{name} holds {len(sources)} exposures: {names}.", hint="Name one.")
    return sources[0]


def make_difference(task: DiffimTask) -> list[Product]:
    """Read a pair, subtract, look for sources if that is wanted, and write the products."""
    from skytool.cli.diffim.product import write_difference, write_sources
    from skytool.stages.diffim import aligned, check_pair, subtract

    kernel = None if task.files.kernel_in is None else read_kernel(task.files.kernel_in)
    science, template = task.science.read(), task.template.read()
    check_pair(science, template, on_one_grid=not task.files.align)
    science, template = _with_psf(science), _with_psf(template)
    if _are_same(science, template):  # noise of both is one, and nothing can be told from it
        fit = replace(task.config.fit, correct_noise=False)
        task = replace(task, config=replace(task.config, fit=fit))
    if task.files.align:
        template = aligned(template, science)
    sources = None if task.files.catalog is None else _listed(task, science)
    result = subtract(science, template, task.config, sources=sources, kernel=kernel)
    pair = (science, template) if task.files.preconvolve or task.source.check else None
    del template  # whose pixels are needed no more, unless it is subtracted again
    report = _report(task, pair, result, sources)
    metrics = {**result.metrics, **_unknown(task, result)}
    if report is not None:
        metrics |= {**report.metrics, **_empty(result, report)}
        if pair is not None and task.source.check:
            metrics |= _checked(task, *pair, result, report)
    write_difference(task, result, None if report is None else report.difference)
    if report is not None:
        write_sources(task, result, report, fwhm=metrics["science_fwhm"])
    result.check_quality(task.config)
    paths = (*task.files.outputs, *task.source.outputs)
    return [Product(path=str(path), metrics=metrics) for path in paths]


def _are_same(science: Exposure, template: Exposure) -> bool:
    """Return whether the template is the science image, and warn of it."""
    import numpy as np

    same = science.shape == template.shape and np.array_equal(
        science.image, template.image, equal_nan=True
    )
    if same:
        warnings.warn(
            f"{science.name} and {template.name} have the same pixels: their difference is nothing "
            "but the error of the kernel.",
            SkytoolWarning,
            stacklevel=2,
        )
    return same


def _report(
    task: DiffimTask,
    pair: tuple[Exposure, Exposure] | None,
    result: DiffimResult,
    listed: SourceList | None,
) -> SourceReport | None:
    """Return the sources of a difference, if anything of them is wanted."""
    if not (task.source.outputs or task.source.check):
        return None
    from skytool.stages.diffim.sources import find_sources

    score = None
    if task.files.preconvolve and pair is not None:
        from skytool.stages.diffim.preconvolution import preconvolved_score

        score = preconvolved_score(*pair, task.config, sources=listed).score
    science, template = result.parts
    return find_sources(
        result.difference,
        task.source.config(),
        score=score,
        science=science,
        template=template,
    )


def _unknown(task: DiffimTask, result: DiffimResult) -> dict[str, float | None]:
    """Return the numbers that not every run has."""
    fwhm = math.sqrt(2.0) * result.metrics["science_fwhm"] if task.files.preconvolve else None
    return {"preconvolved_fwhm": fwhm, "empty_ratio": None, "empty_scatter": None}


def _empty(result: DiffimResult, report: SourceReport) -> dict[str, float]:
    """Return how the difference compares with the science image at empty places."""
    from skytool.stages.diffim.residuals import empty_ratios

    places = report.catalogue.of_sky(sky=True).columns
    return empty_ratios(
        report.difference.image,
        result.parts[0].image,
        (places["Y"].astype(float), places["X"].astype(float)),
        fwhm=result.metrics["science_fwhm"],
    )


def _checked(
    task: DiffimTask,
    science: Exposure,
    template: Exposure,
    result: DiffimResult,
    report: SourceReport,
) -> dict[str, Any]:
    """Return what comes back of sources that are put into the science image."""
    from skytool.stages.diffim import subtract
    from skytool.stages.diffim.check import CheckConfig, check_difference

    def again(changed: Exposure) -> Exposure:
        return subtract(changed, template, task.config, kernel=result.kernel).difference

    return dict(
        check_difference(
            science,
            result.difference,
            report,
            again,
            task.source.config(),
            CheckConfig(n_sources=task.source.n_check),
        )
    )


def _listed(task: DiffimTask, science: Exposure) -> SourceList:
    """Return the sources that a file lists.

    Raises
    ------
    InputError
        If it cannot be read.
    IncompatibleError
        If it has places on the sky and the science image has no coordinates.
    """
    from skytool.io.catalogs import read_sources
    from skytool.stages.diffim import SourceList

    files = task.files
    assert files.catalog is not None  # noqa: S101  asked before
    found = read_sources(files.catalog, first_pixel=files.first_pixel, bad_flags=files.bad_flags)
    y, x = found.y, found.x
    if y is None or x is None:
        if science.wcs is None:
            raise IncompatibleError(
                f"{files.catalog} has places on the sky, and {science.name} has no coordinates."
            )
        from skytool.stages.diffim.grids import pixel_positions

        assert found.ra is not None  # noqa: S101  a list has one kind of positions
        assert found.dec is not None  # noqa: S101
        y, x = pixel_positions(science.wcs, longitude=found.ra, latitude=found.dec)
    return SourceList(y, x, found.snr, found.flagged, found.name)


def _with_psf(exposure: Exposure) -> Exposure:
    """Return an exposure with a PSF, measured if it has none."""
    if exposure.psf is not None:
        return exposure
    from skytool.stages.psf import PsfConfig, measure_psf

    return exposure.with_values(psf=measure_psf(exposure, PsfConfig()).psf)


def read_kernel(file: str) -> MatchingKernel:
    """Read a stored kernel.

    Raises
    ------
    InputError
        If the file cannot be read or holds none.
    """
    from skytool.io.filespec import FileSpec
    from skytool.io.fits import opened
    from skytool.models.matching_kernel import MatchingKernel

    with opened(FileSpec.parse(file)) as hdus:
        return MatchingKernel.from_hdus(hdus, name=file)


def _is_current(unit: Unit[Any]) -> bool:
    """Return whether the products, written together, are of the inputs and settings in force."""
    from skytool.cli.diffim.product import product_fingerprint
    from skytool.io.fits import opened

    with opened(unit.outputs[0], verify=True) as hdus:
        return bool(hdus[0].header.get("SKYPRINT") == product_fingerprint(unit.task))
