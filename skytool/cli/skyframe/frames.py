"""The sky frames that ``skytool skyframe apply`` is given, and which exposure each is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skytool.errors import IncompatibleError, InputError, SkytoolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skytool.cli.members import Member
    from skytool.models.exposure import Exposure
    from skytool.models.skyframe import Hdu, SkyFrame


@dataclass(frozen=True, eq=False)
class FrameFile:
    """A sky frame and where it is from.

    Parameters
    ----------
    file : str
        The file, as the user wrote it.
    name : str
        Its name without folder.
    frame : SkyFrame
        What it holds.
    detector : str
        Detector; empty if unknown.
    filter_name : str
        Filter; empty if unknown.
    datasum : str
        DATASUM of the pattern.
    digest : str
        Changes whenever the file does.
    members : frozenset of str
        DATASUM of the exposures it was made of.
    """

    file: str
    name: str
    frame: SkyFrame
    detector: str
    filter_name: str
    datasum: str
    digest: str
    members: frozenset[str]

    def was_made_of(self, exposure: Exposure, datasum: str) -> bool:
        """Tell whether the frame was made of an exposure, or of what that was made of.

        Parameters
        ----------
        exposure : Exposure
            The exposure, with its table of inputs if it has one.
        datasum : str
            DATASUM of its pixels.
        """
        earlier = _members(exposure.extensions, exposure.name)
        return not self.members.isdisjoint({datasum, *earlier})


def holds_frame(name: str) -> bool:
    """Return whether an input is a sky frame, by its headers."""
    from skytool.io.filespec import FileSpec
    from skytool.io.fits import opened
    from skytool.models.skyframe import is_sky_frame

    spec = FileSpec.parse(name)
    if spec.is_standard_stream or not spec.path.is_file():
        return False
    try:
        with opened(FileSpec(spec.path)) as hdus:
            return any(is_sky_frame(hdu.header) for hdu in hdus[:2])
    except SkytoolError:
        return False  # what is wrong with it shows when it is read as an exposure


def read_frame(name: str) -> FrameFile:
    """Read a sky frame.

    Raises
    ------
    InputError
        If the file cannot be read or holds none.
    """
    from skytool.io.filespec import FileSpec
    from skytool.io.fits import content_key, data_sums, opened
    from skytool.models.observation.observation import observation_from_header
    from skytool.models.skyframe import sky_frame_from_hdus

    spec = FileSpec.parse(name).with_extension(None)
    sums = data_sums(spec)
    with opened(spec) as hdus:
        frame = sky_frame_from_hdus(hdus, name=spec.file_name)
        primary = hdus[0].header
        place = next(
            (i for i, hdu in enumerate(hdus) if hdu.name == "IMAGE"),
            next(i for i, hdu in enumerate(hdus) if hdu.shape),
        )
        members = _members(hdus, spec.file_name)
        detector = str(primary.get("SKYDET", "")).strip()
    seen = observation_from_header(frame.header)
    if not detector:
        detector = seen.detector_name if seen.detector is None else str(seen.detector)
    return FrameFile(
        file=name,
        name=spec.file_name,
        frame=frame,
        detector=detector,
        filter_name=seen.filter,
        datasum=sums[place],
        digest=content_key(spec),
        members=members,
    )


def _members(hdus: Iterable[Hdu], name: str) -> frozenset[str]:
    """Return the sums of the exposures that a product was made of, as far as it says."""
    from skytool.models.records.provenance import INPUTS, read_inputs

    table = next((hdu for hdu in hdus if hdu.name == INPUTS), None)
    if table is None:
        return frozenset()
    records = read_inputs(table, name=f"{name}[{INPUTS}]")
    return frozenset(each.datasum for each in records if each.status == "used" and each.datasum)


@dataclass(frozen=True)
class FrameSet:
    """The sky frames of a run."""

    frames: tuple[FrameFile, ...]

    @classmethod
    def read(cls, names: Sequence[str]) -> FrameSet:
        """Read sky frames.

        Raises
        ------
        InputError
            If one cannot be read.
        IncompatibleError
            If two are of one detector.
        """
        frames = [read_frame(name) for name in names]
        if not frames:
            raise InputError("no sky frame is given.", hint="Give --sky.")
        seen: dict[str, FrameFile] = {}
        for frame in frames:
            if frame.detector in seen:
                raise IncompatibleError(
                    f"{seen[frame.detector].name} and {frame.name} are both sky frames of detector "
                    f"{frame.detector or '?'}."
                )
            seen[frame.detector] = frame
        return cls(tuple(frames))

    def of(self, member: Member) -> FrameFile:
        """Return the frame of an exposure.

        Raises
        ------
        IncompatibleError
            If there is none for its detector, or it is of another filter.
        """
        found = next((each for each in self.frames if each.detector == member.detector), None)
        if found is None and len(self.frames) == 1:
            only = self.frames[0]
            found = only if not (only.detector and member.detector) else None
        if found is None:
            known = ", ".join(each.detector or each.name for each in self.frames[:8])
            raise IncompatibleError(
                f"{member.source.name} is of detector {member.detector or '?'}, for which there is "
                f"no sky frame.",
                hint=f"There are: {known}.",
            )
        filters = found.filter_name, member.seen.filter
        if all(filters) and filters[0] != filters[1]:
            raise IncompatibleError(
                f"{member.source.name} was taken through {filters[1]!r}, the sky frame "
                f"{found.name} is for {filters[0]!r}.",
                hint="Give a frame of the same filter.",
            )
        return found
