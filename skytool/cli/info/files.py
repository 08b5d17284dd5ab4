"""The files of ``skytool info``: described or checked one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.cli.report import Reporter
from skytool.errors import InputError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from skytool.cli.options import RunOptions
    from skytool.io.sources import ReadOptions

STAGE = "info"


def describe_files(inputs: Sequence[str], *, reading: ReadOptions, run: RunOptions) -> None:
    """Print what every file holds.

    Raises
    ------
    SkytoolError
        If a file cannot be read; with ``--keep-going`` only at the end.
    """
    from skytool.cli.info.text import as_text

    with Reporter(STAGE, (), run=run, total=len(inputs), at_once=False) as report:
        _check_report(run, inputs)
        printed = False
        for place, name in enumerate(inputs):
            try:
                for path, described in _described(name, reading, pixels=not run.dry_run):
                    text = as_text(path, described)
                    report.row(path, described, text=f"\n{text}" if printed else text)
                    printed = True
            except SkytoolError as error:
                report.failure(name, error, index=place)
                if not run.keep_going:
                    raise


def _described(
    name: str, reading: ReadOptions, *, pixels: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every exposure of a file, or the file itself if it holds models only."""
    from skytool.io.describe import describe_exposure, describe_models
    from skytool.io.filespec import FileSpec
    from skytool.io.layouts.contents import read_contents
    from skytool.io.sources import find_sources

    spec = FileSpec.parse(name)
    contents = read_contents(FileSpec(spec.path))
    if "SKYFMT" in contents.primary and contents.named("IMAGE") is None and not spec.extension:
        yield str(spec), describe_models(contents)
        return
    sources = find_sources(name, reading)
    for source in sources:
        path = str(source.spec if len(sources) > 1 else spec)
        yield path, describe_exposure(source, contents, pixels=pixels)


def check_files(inputs: Sequence[str], *, reading: ReadOptions, run: RunOptions) -> None:
    """Print the problems of every file, ``ok`` if it has none.

    All files are looked at, whatever is found in one of them.

    Raises
    ------
    InputError
        If any file has problems.
    """
    from skytool.io.checking import file_problems

    faulty = []
    with Reporter(STAGE, ("problem",), run=run) as report:
        _check_report(run, inputs)
        for name in inputs:
            problems = file_problems(name, reading)
            faulty += [name] if problems else []
            lines = [f"{name}\t{problem}" for problem in problems] or [f"{name}\tok"]
            report.row(
                name,
                {"problems": problems},
                status="failed" if problems else "ok",
                text="\n".join(lines),
            )
    if faulty:
        raise InputError(
            f"{len(faulty)} of {len(inputs)} files {'has' if len(faulty) == 1 else 'have'} "
            f"problems: {', '.join(faulty)}."
        )


def _check_report(run: RunOptions, inputs: Sequence[str]) -> None:
    """Refuse a report file that may not be written, before any reading."""
    if run.report is not None:
        from skytool.io.fits import check_outputs

        check_outputs([run.report], inputs, overwrite=run.overwrite)
