"""How refraction moves the light of every wavelength in an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.refraction.atmosphere import differential_refraction
from skytool.models.observation.pointing import check_elevation
from skytool.models.sky.orientation import sky_orientation

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    from skytool.core.refraction.atmosphere import Conditions, Variant
    from skytool.models.dcr.bands import Subfilters
    from skytool.models.observation.pointing import Pointing


@dataclass(frozen=True, eq=False)
class LocalRefraction:
    """The refraction of an exposure at one place of an image.

    Parameters
    ----------
    elevation : float
        Apparent elevation of the place [deg].
    position_angle : float
        Direction of the zenith there, from north through east [deg].
    matrix : ndarray of float64, shape (2, 2)
        Steps to the east (first row) and to the north of a step of one pixel along x (first
        column) and along y [arcsec/pixel], as of `~skytool.models.sky.orientation.SkyOrientation`.
    conditions : Conditions
        Site and air.
    reference_wavelength : float
        Wavelength of the light that is in its place [nm].
    variant : {"stone", "lsst", "filippenko"}
        Formula of the refraction.
    """

    elevation: float
    position_angle: float
    matrix: NDArray[np.float64]
    conditions: Conditions
    reference_wavelength: float
    variant: Variant = "stone"

    @property
    def direction(self) -> tuple[float, float]:
        """Step ``(dy, dx)`` towards the zenith of one second of arc [pixel/arcsec]."""
        angle = math.radians(self.position_angle)
        dx, dy = np.linalg.solve(self.matrix, np.array([math.sin(angle), math.cos(angle)]))
        return float(dy), float(dx)

    def amplitudes(self, wavelength: ArrayLike) -> Any:
        """Return how far towards the zenith light is moved.

        Parameters
        ----------
        wavelength : array_like of float, shape (...)
            Wavelength in vacuum [nm].

        Returns
        -------
        float or ndarray of float64, shape (...)
            Angle [arcsec], positive for light bluer than the reference.
        """
        return differential_refraction(
            wavelength, self.reference_wavelength, self.elevation, self.conditions, self.variant
        )

    def shifts(self, wavelength: ArrayLike) -> tuple[Any, Any]:
        """Return where light is in the image, relative to that of the reference wavelength.

        Parameters
        ----------
        wavelength : array_like of float, shape (...)
            Wavelength in vacuum [nm].

        Returns
        -------
        dy, dx : float or ndarray of float64, shape (...)
            Shift [pixel].
        """
        amplitude = self.amplitudes(wavelength)
        dy, dx = self.direction
        return amplitude * dy, amplitude * dx


@dataclass(frozen=True, eq=False)
class SubfilterShifts:
    """Where the subfilters of a band are in an exposure, relative to the reference wavelength.

    Parameters
    ----------
    amplitude : ndarray of float64, shape (n_subfilter, 2)
        Angles towards the zenith of the bluer and of the redder half of each subfilter [arcsec]:
        a quarter and three quarters of the way between its ends.
    dy, dx : ndarray of float64, shape (n_subfilter, 2)
        The same as shifts [pixel]. Their means over the second axis are the shifts of whole
        subfilters.
    local : LocalRefraction
        Where they are from.
    """

    amplitude: NDArray[np.float64]
    dy: NDArray[np.float64]
    dx: NDArray[np.float64]
    local: LocalRefraction

    @property
    def mean_dy(self) -> NDArray[np.float64]:
        """Shift of each subfilter as a whole along y, shape (n_subfilter,) [pixel]."""
        return np.asarray(self.dy.mean(axis=1))

    @property
    def mean_dx(self) -> NDArray[np.float64]:
        """Shift of each subfilter as a whole along x, shape (n_subfilter,) [pixel]."""
        return np.asarray(self.dx.mean(axis=1))

    @property
    def mean_amplitude(self) -> NDArray[np.float64]:
        """Angle of each subfilter as a whole towards the zenith, shape (n_subfilter,) [arcsec]."""
        return np.asarray(self.amplitude.mean(axis=1))

    @property
    def largest(self) -> float:
        """Largest shift along an axis [pixel]."""
        return float(max(np.abs(self.dy).max(), np.abs(self.dx).max()))


def local_refraction(
    pointing: Pointing,
    wcs: WCS,
    *,
    y: float,
    x: float,
    reference_wavelength: float,
    variant: Variant = "stone",
    name: str = "the WCS",
) -> LocalRefraction:
    """Return the refraction of an exposure at a place of an image.

    Parameters
    ----------
    pointing : `~skytool.models.observation.pointing.Pointing`
        Where the zenith was, and the air.
    wcs : `~astropy.wcs.WCS`
        Two celestial axes: of the image in which shifts are wanted, not necessarily that of the
        exposure.
    y, x : float
        The place [pixel, 0-based].
    reference_wavelength : float
        Wavelength of the light that the WCS is right for [nm].
    variant : {"stone", "lsst", "filippenko"}
        Formula of the refraction.
    name : str
        What messages call the image.

    Raises
    ------
    IncompatibleError
        If the place is not on the sky, or too near to the horizon.

    Notes
    -----
    The direction of the zenith and the matrix are those at the place, so that any projection,
    orientation, parity and distortion is right.
    """
    orientation = sky_orientation(wcs, y=y, x=x, name=name)
    elevation, position_angle = pointing.view(orientation.ra, orientation.dec)
    check_elevation(elevation, name)
    return LocalRefraction(
        elevation,
        position_angle,
        orientation.matrix,
        pointing.conditions,
        reference_wavelength,
        variant,
    )


def shifts_of_subfilters(local: LocalRefraction, subfilters: Subfilters) -> SubfilterShifts:
    """Return the shifts of the subfilters of a band at one place.

    Parameters
    ----------
    local : LocalRefraction
        Refraction at the place.
    subfilters : `~skytool.models.dcr.bands.Subfilters`
        Parts of the band.

    Returns
    -------
    SubfilterShifts
        By the angles of the ends of each subfilter, as if these grew evenly in between.

    Raises
    ------
    AlgorithmError
        If refraction is not known at a wavelength of the band.
    """
    ends = np.asarray(local.amplitudes(subfilters.limits))
    amplitude = ends @ np.array([[0.75, 0.25], [0.25, 0.75]])
    dy, dx = local.direction
    return SubfilterShifts(amplitude, amplitude * dy, amplitude * dx, local)


def subfilter_shifts(
    pointing: Pointing,
    wcs: WCS,
    subfilters: Subfilters,
    *,
    y: float,
    x: float,
    reference_wavelength: float | None = None,
    variant: Variant = "stone",
    name: str = "the WCS",
) -> SubfilterShifts:
    """Return the shifts of the subfilters of a band in an exposure, at a place of an image.

    Parameters
    ----------
    pointing, wcs, y, x, variant, name
        As for `local_refraction`.
    subfilters : `~skytool.models.dcr.bands.Subfilters`
        Parts of the band.
    reference_wavelength : float, optional
        Wavelength of the light that the WCS is right for [nm]; that of the band by default.

    Raises
    ------
    IncompatibleError, AlgorithmError
        As `local_refraction` and `shifts_of_subfilters`.
    """
    reference = reference_wavelength or subfilters.band.mean_wavelength
    local = local_refraction(
        pointing, wcs, y=y, x=x, reference_wavelength=reference, variant=variant, name=name
    )
    return shifts_of_subfilters(local, subfilters)
