"""The direction of the zenith during an exposure, from its header or from time and site."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.refraction.horizon import elevation_at, zenith_at, zenith_from, zenith_view
from skytool.core.sphere.directions import separation
from skytool.errors import IncompatibleError
from skytool.models.observation.header_pointing import (
    View,
    airmass_of,
    elevation_of,
    trusted_parallactic_angle,
    view_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.observation.observation import Observation
    from skytool.models.observation.site import Site

_CLOSE = 0.5  # degrees between zeniths of one exposure, for rounded angles and precession
_SIDEREAL = 15.041 / 3600.0  # degrees a second


class ZenithDirection(NamedTuple):
    """Where the zenith was in the middle of an exposure.

    Parameters
    ----------
    zenith : ndarray of float64, shape (3,)
        Unit vector in ICRS.
    apparent : bool
        Whether elevations above its horizon are those of light that the air has lifted.
    source : str
        Keywords that say so, or ``time and site``.
    site : Site or None
        The site, the sign of its longitude set right.
    note : str
        What contradicts the direction; empty if nothing does.
    """

    zenith: NDArray[np.float64]
    apparent: bool
    source: str
    site: Site | None
    note: str = ""


def missing(name: str, what: str, hint: str) -> IncompatibleError:
    """Return the error for an exposure whose header leaves out what is needed."""
    return IncompatibleError(
        f"{name} does not say where the zenith was, without {what}.",
        hint=hint,
    )


def zenith_of_observation(
    observation: Observation,
    place: tuple[float, float],
    site: Site | None,
    *,
    site_is_certain: bool = False,
    trust_parang: bool = False,
    name: str = "an exposure",
) -> ZenithDirection:
    """Return where the zenith was in the middle of an exposure.

    Parameters
    ----------
    observation : `~skytool.models.observation.observation.Observation`
        What the header says.
    place : (float, float)
        Where the telescope pointed, ICRS [deg].
    site : Site or None
        Where it stands.
    site_is_certain : bool
        Whether the sign of the longitude is beyond doubt.
    trust_parang : bool
        Whether the parallactic angle of the header, of which there are several conventions, counts
        more than the rest; otherwise it does only where there is no rest.
    name : str
        What messages call the exposure.

    Raises
    ------
    IncompatibleError
        If neither the header nor time and site give a direction.
    """
    ra, dec = place
    latitude = site.latitude if site else None
    view = view_of(observation.header, ra=ra, dec=dec, latitude=latitude)
    if trust_parang:
        view = _trusted(observation, view) or view
    told = None if view is None else _zenith_of(view, ra, dec)
    if site is not None and not site_is_certain:
        site = _right_longitude(observation, site, told, place)
    computed = _computed(observation, site)
    if view is None or told is None:
        if computed is not None:
            return ZenithDirection(computed, False, "time and site", site)
        view = _trusted(observation, None)
        if view is None:
            hint = "" if site else "Give --site."
            raise missing(name, _what_is_missing(observation, site), hint)
        note = f"only {view.source} say where it points, the angle taken from north through east"
        return ZenithDirection(_zenith_of(view, ra, dec), True, view.source, site, note)
    if computed is None or view.source.startswith("BORE-ALT") or trust_parang:
        return ZenithDirection(told, True, view.source, site)
    apart = _degrees(told, computed)
    if apart <= _drift(observation):
        return ZenithDirection(computed, False, f"time and site, as {view.source}", site)
    note = f"{view.source} and time and site differ by {apart:.1f} degrees; the former count"
    return ZenithDirection(told, True, view.source, site, note)


def _trusted(observation: Observation, view: View | None) -> View | None:
    """Return the direction by the parallactic angle that a header has."""
    angle = trusted_parallactic_angle(observation.header)
    elevation = elevation_of(observation.header)
    airmass = airmass_of(observation)
    if angle is None:
        return None
    if elevation is not None:
        return View(elevation.value, angle.value, f"{elevation.source}, {angle.source}", False)
    if view is not None:
        return View(view.elevation, angle.value, f"{view.source}, {angle.source}", False)
    if airmass is not None:
        height = elevation_at(airmass.value)
        return View(height, angle.value, f"{airmass.source}, {angle.source}", False)
    return None


def _zenith_of(view: View, ra: float, dec: float) -> NDArray[np.float64]:
    return zenith_from(ra=ra, dec=dec, elevation=view.elevation, position_angle=view.position_angle)


def _computed(observation: Observation, site: Site | None) -> NDArray[np.float64] | None:
    """Return the zenith by time and site."""
    if site is None or site.longitude is None or observation.mjd_mid is None:
        return None
    return zenith_at(observation.mjd_mid, latitude=site.latitude, longitude=site.longitude)


def _right_longitude(
    observation: Observation,
    site: Site,
    told: NDArray[np.float64] | None,
    place: tuple[float, float],
) -> Site:
    """Return the site with the longitude turned over if only so the header agrees with itself.

    Some observatories count longitudes positive to the west.
    """
    if site.longitude is None:
        return site
    elevation, airmass = elevation_of(observation.header), airmass_of(observation)
    height = elevation.value if elevation else None
    if height is None and airmass is not None:
        height = elevation_at(airmass.value)

    def misfit(candidate: Site) -> float:
        zenith = _computed(observation, candidate)
        if zenith is None:
            return 0.0
        if told is not None:
            return _degrees(told, zenith)
        if height is None:
            return 0.0
        return abs(zenith_view(zenith, ra=place[0], dec=place[1])[0] - height)

    allowed = 3.0 * _drift(observation)
    mirrored = site.mirrored
    return mirrored if misfit(site) > allowed >= misfit(mirrored) else site


def _drift(observation: Observation) -> float:
    """Return how far apart two zeniths of one exposure may be [deg]."""
    return _CLOSE + _SIDEREAL * (observation.exposure_time or 0.0)


def _what_is_missing(observation: Observation, site: Site | None) -> str:
    """Return what would give the direction of the zenith."""
    parts = []
    if site is None:
        parts.append("the site")
    elif site.longitude is None:
        parts.append("the longitude of the site")
    if observation.mjd_mid is None:
        parts.append("the time of the exposure (or altitude and azimuth, or the hour angle)")
    return " and ".join(parts)


def _degrees(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the angle between two unit vectors [deg]."""
    return float(np.degrees(separation(a, b)))
