"""Exposures that commands take one by one: which visit and detector they are, where products go."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytool.cli.outputs import output_paths
from skytool.cli.stage_files import Unit
from skytool.errors import IncompatibleError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skytool.cli.options import RunOptions
    from skytool.cli.outputs import Destination
    from skytool.core.skyframe.focal_plane_grid import Affine
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.observation.observation import Observation
    from skytool.models.records.provenance import InputRecord

_log = logging.getLogger(__name__)

_EVERY_FILE = ("none",)


@dataclass(frozen=True)
class Member:
    """One detector of one exposure.

    Parameters
    ----------
    source : ExposureSource
        The exposure, of which only headers were read.
    argument : str
        The input it is from, as the user wrote it.
    seen : Observation
        What its header says.
    visit, detector : str
        What it is.
    alone : bool
        Whether its input holds no other exposure.
    """

    source: ExposureSource
    argument: str
    seen: Observation
    visit: str
    detector: str
    alone: bool

    @property
    def files(self) -> tuple[str, ...]:
        """Files that it is read from."""
        return tuple(str(path) for path in self.source.files)


def find_members(
    inputs: Sequence[str],
    reading: ReadOptions,
    run: RunOptions,
    failures: list[Unit[Any]],
    *,
    group_by: tuple[str, ...] | None = None,
) -> list[Member]:
    """Find the exposures in the inputs, by headers alone.

    Parameters
    ----------
    inputs : sequence of str
        Files.
    reading : ReadOptions
        How to read them.
    run : RunOptions
        Whether to go on after a failure.
    failures : list of Unit
        Where failures go then.
    group_by : tuple of str, optional
        Keywords that together name a visit; ``("none",)``: every file by itself.
    """
    from skytool.io.sources import find_sources

    members = []
    for name in inputs:
        try:
            sources = find_sources(name, reading)
            members += [_member(source, name, len(sources) == 1, group_by) for source in sources]
        except SkytoolError as error:
            postpone(error, name, run, failures)
    by_file = group_by in {None, _EVERY_FILE}
    return _without_repetition(members) if by_file else members


def _member(
    source: ExposureSource, argument: str, alone: bool, group_by: tuple[str, ...] | None
) -> Member:
    from skytool.models.observation.observation import observation_from_header, visit_key

    seen = observation_from_header(source.header)
    if group_by == _EVERY_FILE:
        visit = source.spec.file_name
    else:
        visit = visit_key(source.header, group_by, name=source.name)
    detector = seen.detector_name if seen.detector is None else str(seen.detector)
    if not detector and not alone:
        detector = _extension_text(source)
    return Member(source, argument, seen, visit, detector, alone)


def _extension_text(source: ExposureSource) -> str:
    from skytool.io.filespec import extension_text

    return extension_text(source.extension).replace(",", "")


def _without_repetition(members: list[Member]) -> list[Member]:
    """Return members of which no two are the same detector of one visit.

    Headers of some files name no visit but, say, the night. Their files are visits of their own.
    """
    seen: dict[tuple[str, str], int] = {}
    for member in members:
        key = member.visit, member.detector
        seen[key] = seen.get(key, 0) + 1
    repeated = {visit for (visit, _), number in seen.items() if number > 1}
    if repeated:
        _log.info("visit %s is there several times: files count as visits", min(repeated))
    names = _names_of_files(members)
    return [
        replace(member, visit=_visit_of_file(member, names[member.argument]))
        if member.visit in repeated
        else member
        for member in members
    ]


def _visit_of_file(member: Member, name: str) -> str:
    return name if member.visit == member.source.spec.file_name else f"{member.visit} {name}"


def _names_of_files(members: Iterable[Member]) -> dict[str, str]:
    """Return the name of every input without its folder, with a number where two have the same."""
    names: dict[str, str] = {}
    number: dict[str, int] = {}
    for member in members:
        name = member.source.spec.file_name
        if member.argument not in names:
            number[name] = number.get(name, 0) + 1
            names[member.argument] = name if number[name] == 1 else f"{name} ({number[name]})"
    return names


def postpone(error: SkytoolError, name: str, run: RunOptions, failures: list[Unit[Any]]) -> None:
    """Let a failure be one of the units of work, where the run goes on in spite of it."""
    if not run.keep_going:
        raise error
    failures.append(Unit(name=name, inputs=(), outputs=(), task=error, error=error))


def output_of_members(members: Sequence[Member], destination: Destination) -> list[Path]:
    """Return the product of every member: that of its input, with the extension if there are several.

    Raises
    ------
    IncompatibleError
        If ``-o`` is given and there are several.
    """
    if destination.directory is None:
        if len(members) > 1:
            raise IncompatibleError(
                f"the inputs hold {len(members)} exposures.", hint="Give --output-dir."
            )
        return [destination.single() for _ in members]
    arguments = list(dict.fromkeys(member.argument for member in members))
    named = output_paths(arguments, destination.directory, destination.suffix)
    paths = dict(zip(arguments, named, strict=True))
    return [
        paths[member.argument]
        if member.alone
        else _with_extension(paths[member.argument], member, destination.suffix)
        for member in members
    ]


def _with_extension(path: Path, member: Member, suffix: str) -> Path:
    stem = path.stem.removesuffix(suffix) if suffix else path.stem
    return path.with_name(f"{stem}_{_extension_text(member.source)}{suffix}{path.suffix}")


def member_record(member: Member, **values: Any) -> InputRecord:
    """Return the row of an exposure in the table of inputs."""
    from skytool.io.input_records import input_record

    return input_record(
        member.source,
        file=member.source.spec.file_name,
        visit=member.seen.visit or member.visit,
        detector=member.detector,
        **values,
    )


def detector_places(members: Iterable[Member], focal_plane: str | None) -> dict[str, Affine] | None:
    """Return where detectors lie, from a table or from headers; None if that is not known.

    Raises
    ------
    InputError
        If the table cannot be read.
    """
    from skytool.models.sky.focal_plane import affine_from_table, arrange

    if focal_plane is not None:
        path = Path(focal_plane)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            from skytool.errors import InputError

            raise InputError(f"{path} is no text file.") from error
        return affine_from_table(text, name=str(path))
    visits: dict[str, dict[str, Any]] = {}
    every = list(members)
    several = len({member.detector for member in every}) > 1
    for member in every:
        wcs = member.source.wcs() if several else None
        entry = wcs, member.source.header, member.source.shape
        visits.setdefault(member.visit, {})[member.detector] = entry
    return arrange(list(visits.values()))
