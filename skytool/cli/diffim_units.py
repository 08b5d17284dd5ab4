"""The work of ``skytool diffim``: read a pair, subtract, write what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skytool.cli.diffim_options import stage_config
from skytool.cli.stage_files import Product, Unit, run_units
from skytool.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from skytool.cli.config import Setting
    from skytool.cli.options import RunOptions
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.exposure import Exposure
    from skytool.models.matching_kernel import MatchingKernel
    from skytool.models.provenance import SettingRecord
    from skytool.stages.diffim import DiffimConfig

STAGE = "diffim"
COLUMNS = ("kernel_sum", "kernel_stars", "kernel_order", "noise_factor")


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
    """

    science: str
    template: str
    output: Path
    matched: Path | None
    kernel_out: Path | None
    kernel_in: str | None
    catalog: str | None
    template_planes: Mapping[str, str | None]

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
    settings: tuple[SettingRecord, ...]
    overwrite: bool
    compress: str


def diffim_units(
    files: DiffimFiles,
    *,
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
    from skytool.models.provenance import SettingRecord

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
        settings=tuple(SettingRecord(STAGE, *setting) for setting in recorded),
        overwrite=run.may_replace,
        compress=run.compress,
    )
    unit = Unit(
        name=files.science,
        inputs=(files.science, files.template, *files.side_inputs),
        outputs=files.outputs,
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
    """Read a pair, subtract, and write the products."""
    from skytool.cli.diffim_product import write_difference
    from skytool.stages.diffim import subtract

    kernel = None if task.files.kernel_in is None else read_kernel(task.files.kernel_in)
    science, template = task.science.read(), task.template.read()
    result = subtract(_with_psf(science), _with_psf(template), task.config, kernel=kernel)
    write_difference(task, result)
    return [Product(path=str(path), metrics=result.metrics) for path in task.files.outputs]


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
    """Return whether the products were made from the inputs and settings in force."""
    from skytool.cli.diffim_product import product_fingerprint
    from skytool.io.fits import opened

    wanted = product_fingerprint(unit.task)
    for output in unit.outputs:
        with opened(output, verify=True) as hdus:
            if hdus[0].header.get("SKYPRINT") != wanted:
                return False
    return True
