"""Drawing of sources without noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.simulate.coordinates import jacobian, pixel_positions
from tests.simulate.psf import Box

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from tests.simulate.catalogue import Catalogue
    from tests.simulate.observing import Observation
    from tests.simulate.psf import SimulatedPsf

OVERSAMPLING = 6  # points per pixel and axis of galaxies: 2e-4 of the peak of a small disc
GALAXY_EXTENT = 5.0  # [half-light radii]


def draw_sources(
    catalogue: Catalogue,
    wcs: WCS,
    shape: tuple[int, int],
    psf: SimulatedPsf,
    observation: Observation | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw a catalogue as a detector sees it.

    Parameters
    ----------
    catalogue : Catalogue
        Sources; fluxes [nJy].
    wcs : `~astropy.wcs.WCS`
        Coordinates at the reference wavelength.
    shape : tuple of int
        Shape ``(ny, nx)``.
    psf : SimulatedPsf
        Point spread function without refraction.
    observation : Observation, optional
        With it, light is displaced towards the zenith, each wavelength by its own angle.

    Returns
    -------
    image : ndarray of float64, shape ``(ny, nx)``
        [nJy].
    y, x : ndarray of float64, shape ``(n,)``
        Centroids of the light [pixel].
    """
    ra, dec, shares = catalogue.ra[:, None], catalogue.dec[:, None], np.ones((len(catalogue), 1))
    if observation is not None:
        wavelengths, shares = observation.band.nodes(catalogue.slope)
        ra, dec = observation.displaced(catalogue.ra, catalogue.dec, wavelengths)
    y, x, _ = (
        plane.reshape(ra.shape) for plane in pixel_positions(wcs, shape, ra.ravel(), dec.ravel(), 0)
    )
    image = np.zeros(shape)
    for i in range(len(catalogue)):
        light = catalogue.flux[i] * shares[i]
        if catalogue.radius[i] == 0:
            _add_star(image, psf, y[i], x[i], light)
        else:
            _add_galaxy(image, psf, y[i], x[i], light, catalogue[i : i + 1], wcs)
    return image, np.sum(y * shares, axis=1), np.sum(x * shares, axis=1)


def _add_star(image: NDArray, psf: SimulatedPsf, y: NDArray, x: NDArray, light: NDArray) -> None:
    middle_y, middle_x = (min(y) + max(y)) / 2, (min(x) + max(x)) / 2
    profile = psf.at(y=middle_y, x=middle_x)
    reach = profile.reach
    box = _clipped(image.shape, min(y) - reach, max(y) + reach, min(x) - reach, max(x) + reach)
    if box.ny > 0 and box.nx > 0:
        image[_slices(box)] += profile.integrated(y, x, light, box)


def _add_galaxy(
    image: NDArray,
    psf: SimulatedPsf,
    y: NDArray,
    x: NDArray,
    light: NDArray,
    galaxy: Catalogue,
    wcs: WCS,
) -> None:
    """Add a galaxy by Fourier transforms on a fine grid that is centred on it."""
    centre_y, centre_x = float(np.mean(y)), float(np.mean(x))
    profile = psf.at(y=centre_y, x=centre_x)
    sky = jacobian(wcs, y=centre_y, x=centre_x)
    smallest_pixel = np.linalg.svd(sky, compute_uv=False)[-1]
    reach = int(np.ceil(GALAXY_EXTENT * galaxy.radius[0] / smallest_pixel)) + profile.reach + 3
    row, column = round(centre_y), round(centre_x)
    box = _clipped(image.shape, row - reach, row + reach, column - reach, column + reach)
    if box.ny <= 0 or box.nx <= 0:
        return
    n = 2 * (reach + profile.reach) * OVERSAMPLING
    offsets = np.fft.fftfreq(n, 1 / n) / OVERSAMPLING
    dy, dx = offsets[:, None], offsets[None, :]
    body = _sersic(sky[0, 0] * dy + sky[0, 1] * dx, sky[1, 0] * dy + sky[1, 1] * dx, galaxy)
    spread = profile.density(dy, dx)
    k = np.fft.fftfreq(n, 1 / OVERSAMPLING)
    ky, kx = k[:, None], k[None, : n // 2 + 1]
    transform = np.fft.rfft2(body / body.sum()) * np.fft.rfft2(spread / spread.sum())
    transform *= np.sinc(ky) * np.sinc(kx) * OVERSAMPLING**2
    phases = np.zeros_like(transform)
    for node_y, node_x, node_light in zip(y, x, light, strict=True):
        phase = ky * (node_y - row) + kx * (node_x - column)
        phases += node_light * np.exp(-2j * np.pi * phase)
    coarse = np.fft.irfft2(transform * phases, s=(n, n))[::OVERSAMPLING, ::OVERSAMPLING]
    rows = (box.y0 - row + np.arange(box.ny)) % coarse.shape[0]
    columns = (box.x0 - column + np.arange(box.nx)) % coarse.shape[1]
    image[_slices(box)] += coarse[np.ix_(rows, columns)]


def _sersic(
    east: NDArray[np.float64], north: NDArray[np.float64], galaxy: Catalogue
) -> NDArray[np.float64]:
    """Sersic profile (b_n after Ciotti and Bertin 1999) that a taper ends at `GALAXY_EXTENT`."""
    n = galaxy.sersic[0]
    b = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)
    angle = np.radians(galaxy.angle[0])
    major = east * np.sin(angle) + north * np.cos(angle)
    minor = (east * np.cos(angle) - north * np.sin(angle)) / galaxy.axis_ratio[0]
    r = np.hypot(major, minor) / galaxy.radius[0]
    outer = np.clip(4 * r / GALAXY_EXTENT - 3, 0.0, 1.0)
    return np.exp(-b * r ** (1 / n)) * (1 - outer * outer * (3 - 2 * outer))


def visible(catalogue: Catalogue, wcs: WCS, shape: tuple[int, int], psf: SimulatedPsf) -> Catalogue:
    """The part of a catalogue whose light can reach the detector."""
    scale = np.sqrt(abs(np.linalg.det(jacobian(wcs, y=shape[0] / 2, x=shape[1] / 2))))
    reach = psf.radius * 1.3 + GALAXY_EXTENT * 1.2 * catalogue.radius.max(initial=0) / scale + 10
    _, _, near = pixel_positions(wcs, shape, catalogue.ra, catalogue.dec, reach)
    return catalogue[near]


def _clipped(shape: tuple[int, int], y0: float, y1: float, x0: float, x1: float) -> Box:
    top, left = max(int(np.floor(y0)), 0), max(int(np.floor(x0)), 0)
    bottom = min(int(np.ceil(y1)), shape[0] - 1)
    right = min(int(np.ceil(x1)), shape[1] - 1)
    return Box(top, left, bottom - top + 1, right - left + 1)


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.y0, box.y0 + box.ny), slice(box.x0, box.x0 + box.nx)
