"""Which exposures belong to one visit, and which of them see the target."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from astropy.io import fits
    from astropy.wcs import WCS

    from skytool.models.observation.observation import Observation
    from skytool.models.sky.geometry import TargetGrid

_log = logging.getLogger(__name__)


class Candidate(Protocol):
    """An exposure of which only the header has been read."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def header(self) -> fits.Header:
        """Cards of the image and of the primary."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""

    def wcs(self) -> WCS | None:
        """Celestial coordinates, if it has any."""


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True)
class Member(Generic[C]):
    """A candidate with what its header says of the observation."""

    candidate: C
    observation: Observation


@dataclass(frozen=True)
class Visit(Generic[C]):
    """The exposures taken at one time by one camera, in order of detector.

    Parameters
    ----------
    name : str
        Visit as the headers spell it, or the name of the file.
    number : int
        Visit as an integer; its place among the visits if it is none.
    filter_name : str
        Filter of all detectors; empty if unknown.
    members : tuple of Member
        One for every detector.
    """

    name: str
    number: int
    filter_name: str
    members: tuple[Member[C], ...]


def group_visits(
    candidates: Iterable[C], *, keys: Sequence[str] | None, single: bool
) -> list[Visit[C]]:
    """Sort exposures into visits.

    Parameters
    ----------
    candidates : iterable
        Exposures in the order given by the user.
    keys : sequence of str or None
        Header keywords whose values together name a visit; None takes the first present of the
        usual ones; an empty sequence makes a visit of every file.
    single : bool
        All are one visit, whatever the headers say of it.

    Returns
    -------
    list of Visit
        In the order in which they first appear; members by detector number, then in the order
        given.

    Raises
    ------
    IncompatibleError
        If a keyword is missing, or if the filters of a visit differ.
    """
    from skytool.models.observation.observation import observation_from_header, visit_key

    groups: dict[str, list[Member[C]]] = {}
    for candidate in candidates:
        observation = observation_from_header(candidate.header)
        if single:
            key = ""
        elif keys is not None and not keys:
            key = candidate.name
        else:
            key = visit_key(candidate.header, keys, name=candidate.name)
        groups.setdefault(key, []).append(Member(candidate, observation))
    visits = [_visit(key, members, index) for index, (key, members) in enumerate(groups.items())]
    for visit in visits:
        _log.debug("visit %s: %d exposures", visit.name, len(visit.members))
    return visits


def wcs_of(candidate: Candidate) -> WCS:
    """Return the celestial coordinates of an exposure.

    Raises
    ------
    IncompatibleError
        If it has none.
    """
    wcs = candidate.wcs()
    if wcs is None:
        raise IncompatibleError(
            f"{candidate.name} has no celestial WCS.",
            hint="Solve its astrometry, or give -k to go on without it.",
        )
    return wcs


def _visit(key: str, members: list[Member[C]], index: int) -> Visit[C]:
    """Check and order the members of a visit."""
    from skytool.models.observation.observation import check_single_filter

    filter_name = check_single_filter(
        (member.candidate.name, member.observation) for member in members
    )
    last = float("inf")
    ordered = sorted(
        members,
        key=lambda member: (
            last if member.observation.detector is None else member.observation.detector
        ),
    )
    first = ordered[0]
    name = key or first.observation.visit or first.candidate.name
    number = int(name) if name.isdecimal() else first.observation.visit_number
    return Visit(name, index if number is None else number, filter_name, tuple(ordered))


def select_overlapping(
    members: Iterable[Member[C]], grid: TargetGrid
) -> tuple[list[Member[C]], list[tuple[Member[C], str]]]:
    """Part the exposures that see the target from those that do not.

    Returns
    -------
    selected : list of Member
        Exposures whose outline on the sky meets that of the target.
    rejected : list of (Member, str)
        The others, with the reason.

    Raises
    ------
    IncompatibleError
        If an exposure has no celestial coordinates, or unusable ones.
    """
    from skytool.models.sky.geometry import overlaps

    selected, rejected = [], []
    for member in members:
        candidate = member.candidate
        if overlaps(wcs_of(candidate), candidate.shape, grid, name=candidate.name):
            selected.append(member)
        else:
            rejected.append((member, "no overlap"))
    return selected, rejected
