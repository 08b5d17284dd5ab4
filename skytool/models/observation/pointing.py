"""Where the zenith was during an exposure, and the air below it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from skytool.core.refraction.atmosphere import refraction
from skytool.core.refraction.horizon import airmass_at, carried, zenith_view
from skytool.core.sphere.directions import separation, unit_vectors
from skytool.errors import IncompatibleError
from skytool.models.observation.header_pointing import airmass_of, position_of
from skytool.models.observation.site import site_from_header
from skytool.models.observation.weather import GivenWeather, weather_from_header
from skytool.models.observation.zenith_direction import missing, zenith_of_observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from skytool.core.refraction.atmosphere import Conditions
    from skytool.models.observation.observation import Observation
    from skytool.models.observation.site import Site

HIGH_AIRMASS = 3.0
"""Airmass from which the formulas of refraction are doubtful."""

HIGHEST_AIRMASS = 5.0
"""Airmass from which they are wrong."""

_MEAN_WAVELENGTH = 550.0  # nm, of the refraction that lifts a source seen without air
_TOLERATED, _TOLERATED_SHARE = 0.02, 0.01
_CONTRADICTION = 0.3  # difference of airmass
_WIDEST_FIELD = 5.0  # degrees between the target and a detector


@dataclass(frozen=True)
class PointingOptions:
    """What counts more than headers.

    Parameters
    ----------
    site : Site or None
        The site.
    weather : GivenWeather
        Numbers of the weather.
    trust_parang : bool
        Whether the parallactic angle of a header counts more than what else tells the direction.
    force : bool
        Whether an airmass that contradicts the direction is only warned of.
    """

    site: Site | None = None
    weather: GivenWeather = field(default_factory=GivenWeather)
    trust_parang: bool = False
    force: bool = False


@dataclass(frozen=True, eq=False)
class Pointing:
    """Where the zenith was in the middle of an exposure, and the air there.

    Parameters
    ----------
    zenith : ndarray of float64, shape (3,)
        Unit vector in ICRS.
    apparent : bool
        Whether elevations above its horizon are those of light that the air has lifted.
    conditions : Conditions
        Site and air.
    ra, dec : float
        Where the telescope pointed, ICRS [deg].
    sources : mapping of str to str
        Keywords, ``given`` or ``default`` of ``direction``, ``site``, ``temperature``,
        ``pressure``, ``humidity``.
    notes : tuple of str
        What is strange about the header.
    """

    zenith: NDArray[np.float64]
    apparent: bool
    conditions: Conditions
    ra: float
    dec: float
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def view(self, ra: float, dec: float) -> tuple[float, float]:
        """Return how the zenith lies as seen from a place on the sky.

        Parameters
        ----------
        ra, dec : float
            The place, ICRS [deg].

        Returns
        -------
        elevation : float
            Apparent elevation [deg].
        position_angle : float
            Direction of the zenith, from north through east, -180 to 180 [deg].
        """
        elevation, position_angle = zenith_view(self.zenith, ra=ra, dec=dec)
        if self.apparent or elevation <= 0.0:
            return elevation, position_angle
        raised = elevation
        for _ in range(3):  # each step is a thousand times as good as the one before
            lift = refraction(_MEAN_WAVELENGTH, min(max(raised, 5.0), 90.0), self.conditions)
            raised = elevation + lift / 3600.0
        return min(raised, 90.0), position_angle

    @property
    def elevation(self) -> float:
        """Apparent elevation where the telescope pointed [deg]."""
        return self.view(self.ra, self.dec)[0]

    @property
    def parallactic_angle(self) -> float:
        """Position angle of the zenith where the telescope pointed [deg]."""
        return self.view(self.ra, self.dec)[1]

    @property
    def airmass(self) -> float:
        """Secant of the apparent zenith distance where the telescope pointed."""
        return airmass_at(self.elevation)


def resolve_pointing(
    observation: Observation,
    *,
    center: tuple[float, float] | None = None,
    name: str = "an exposure",
    options: PointingOptions | None = None,
) -> Pointing:
    """Return where the zenith was during an exposure.

    Parameters
    ----------
    observation : `~skytool.models.observation.observation.Observation`
        What the header says.
    center : (float, float), optional
        ICRS position of the middle of the image [deg], for headers without one.
    name : str
        What messages call the exposure.
    options : PointingOptions, optional
        What counts more than the header.

    Returns
    -------
    Pointing
        By the altitude and azimuth or the hour angle of the header; by time and site where the
        header has no direction, and also where the two agree to the drift of the sky during the
        exposure, for time and site give the middle of the exposure to an arc minute.

    Raises
    ------
    IncompatibleError
        If the direction of the zenith cannot be told, the target was below the horizon or at an
        airmass above 5, or the airmass contradicts the direction.
    """
    options = options or PointingOptions()
    site = options.site or site_from_header(observation.header)
    position = position_of(observation.header)
    place = position[:2] if position else center
    if place is None:
        raise missing(name, "RA and DEC or a WCS", "")
    zenith, apparent, source, site, note = zenith_of_observation(
        observation,
        place,
        site,
        site_is_certain=options.site is not None,
        trust_parang=options.trust_parang,
        name=name,
    )
    notes = [note] if note else []
    weather = weather_from_header(
        observation.header,
        latitude=site.latitude if site else 0.0,
        height=site.height if site else None,
        given=options.weather,
    )
    if site is not None and site.height is None:
        notes.append("the height of the site is not known and taken as sea level")
    sources = {"direction": source, "site": site.source if site else "default", **weather.sources}
    pointing = Pointing(
        zenith, apparent, weather.conditions, *place, sources, (*notes, *weather.notes)
    )
    return _checked(pointing, observation, options, center, name)


def resolve_pointings(
    exposures: Iterable[tuple[str, Observation, tuple[float, float] | None]],
    options: PointingOptions | None = None,
    *,
    drop_incomplete: bool = False,
) -> list[Pointing | None]:
    """Return where the zenith was during each of several exposures.

    Parameters
    ----------
    exposures : iterable of (str, Observation, (float, float) or None)
        Name, header and middle of the image, as for `resolve_pointing`.
    options : PointingOptions, optional
        What counts more than the headers.
    drop_incomplete : bool
        Whether exposures that cannot be used become None.

    Raises
    ------
    IncompatibleError
        If any exposure cannot be used, or none of them; one message names them all.
    """
    found: list[Pointing | None] = []
    errors: list[IncompatibleError] = []
    for name, observation, center in exposures:
        try:
            found.append(resolve_pointing(observation, center=center, name=name, options=options))
        except IncompatibleError as error:
            errors.append(error)
            found.append(None)
    if errors and (not drop_incomplete or len(errors) == len(found)):
        if len(errors) == 1 and len(found) == 1:
            raise errors[0]
        hints = [error.hint for error in errors if error.hint]
        if len(errors) < len(found):
            hints.append("--drop-incomplete goes on without them.")
        raise IncompatibleError(
            f"{len(errors)} of {len(found)} exposures cannot be used: "
            + " ".join(error.message for error in errors),
            hint=" ".join(dict.fromkeys(hints)),
        )
    return found


def check_elevation(elevation: float, name: str) -> None:
    """Refuse an elevation [deg] at which refraction is not known.

    Raises
    ------
    IncompatibleError
        If it is below the horizon or at an airmass above `HIGHEST_AIRMASS`.
    """
    if elevation <= 0.0:
        raise IncompatibleError(
            f"{name} was {-elevation:.1f} degrees below the horizon.",
            hint="Check time, site and position, or give --site.",
        )
    if airmass_at(elevation) > HIGHEST_AIRMASS:
        raise IncompatibleError(
            f"{name} was taken at an airmass of {airmass_at(elevation):.1f}, where refraction is "
            f"not known well enough; at most {HIGHEST_AIRMASS:g} is."
        )


def _checked(
    pointing: Pointing,
    observation: Observation,
    options: PointingOptions,
    center: tuple[float, float] | None,
    name: str,
) -> Pointing:
    """Return the pointing, with a note of what contradicts it; refuse what cannot be."""
    check_elevation(pointing.elevation, name)
    airmass = pointing.airmass
    notes = list(pointing.notes)
    if airmass > HIGH_AIRMASS:
        notes.append(f"refraction is not certain at an airmass of {airmass:.2f}")
    told = airmass_of(observation)
    if told is not None:
        miss = _airmass_misfit(pointing, told.value, observation.exposure_time or 0.0)
        text = (
            f"{told.source} = {told.value:g}, but {pointing.sources['direction']} give an airmass "
            f"of {airmass:.3f}"
        )
        if miss > _CONTRADICTION and not options.force:
            raise IncompatibleError(f"{name}: {text}.", hint="Use --force if the latter is right.")
        if miss > _TOLERATED + _TOLERATED_SHARE * airmass:
            notes.append(text)
    if center is not None:
        target = unit_vectors(pointing.ra, pointing.dec)
        apart = math.degrees(float(separation(target, unit_vectors(*center))))
        if apart > _WIDEST_FIELD:
            notes.append(f"the target is {apart:.1f} degrees from the middle of the image")
    return replace(pointing, notes=tuple(notes))


def _airmass_misfit(pointing: Pointing, airmass: float, exposure_time: float) -> float:
    """Return the smallest difference of an airmass from those during the exposure."""
    misfits = []
    for seconds in (-exposure_time / 2.0, 0.0, exposure_time / 2.0):
        zenith = carried(pointing.zenith, seconds)
        elevation, _ = zenith_view(zenith, ra=pointing.ra, dec=pointing.dec)
        misfits.append(abs(airmass_at(max(elevation, 1.0)) - airmass))
    return min(misfits)
