"""One simulated exposure, with the truth behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tests.simulate.detector import bled, cosmic_rays, grown
from tests.simulate.draw import draw_sources, visible

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from tests.simulate.catalogue import Catalogue
    from tests.simulate.observing import Observation
    from tests.simulate.psf import SimulatedPsf

PLANES = {
    "BAD": (0, "defective pixel"),
    "SAT": (1, "full pixel, or one beside it"),
    "CR": (3, "hit by a cosmic ray"),
    "DETECTED": (5, "part of a source"),
    "NO_DATA": (8, "no value"),
}


@dataclass(frozen=True)
class Camera:
    """One detector.

    Parameters
    ----------
    gain : float
        [electron/adu].
    read_noise : float
        [electron].
    full_well : float
        Most charge that a pixel holds [electron].
    bad_columns : tuple
        Each ``(x, first y, last y + 1, value)``: pixels that give the same value always [adu].
    lost : tuple of slice, optional
        Rectangle without any value.
    """

    gain: float = 1.5
    read_noise: float = 6.0
    full_well: float = 90000.0
    bad_columns: tuple[tuple[int, int, int, float], ...] = ()
    lost: tuple[slice, slice] | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """What went into an exposure.

    Parameters
    ----------
    catalogue : Catalogue
        Sources whose light can reach the detector.
    y, x : ndarray of float64, shape ``(n,)``
        Centroids of their light [pixel, 0-based].
    flux : ndarray of float64, shape ``(n,)``
        [adu].
    sources : ndarray of float64, shape ``(ny, nx)``
        Their image without noise and saturation [adu].
    background : ndarray of float64, shape ``(ny, nx)``
        Light of the sky that is still in the image: what subtraction left, and the pattern [adu].
    """

    catalogue: Catalogue
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    flux: NDArray[np.float64]
    sources: NDArray[np.float64]
    background: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SimulatedExposure:
    """Image, mask and variance of a detector [adu], and the truth.

    ``mask`` uses the bits of `PLANES`; ``sky`` is the sky that was subtracted [adu];
    ``zero_point`` is the AB magnitude of 1 adu.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.int32]
    variance: NDArray[np.float32]
    wcs: WCS
    psf: SimulatedPsf
    truth: Truth
    camera: Camera = field(default_factory=Camera)
    zero_point: float = 31.4
    sky: NDArray[np.float64] | float = 0.0
    observation: Observation | None = None

    @property
    def shape(self) -> tuple[int, int]:
        ny, nx = self.image.shape
        return ny, nx

    @property
    def nanojansky(self) -> float:
        """What one adu is [nJy]."""
        return 10 ** (0.4 * (31.4 - self.zero_point))

    def flagged(self, *planes: str) -> NDArray[np.bool_]:
        return (self.mask & sum(1 << PLANES[plane][0] for plane in planes)) != 0


def simulate_exposure(
    catalogue: Catalogue,
    wcs: WCS,
    shape: tuple[int, int],
    psf: SimulatedPsf,
    *,
    seed: int,
    camera: Camera | None = None,
    zero_point: float = 31.4,
    sky: NDArray[np.float64] | float = 500.0,
    background: NDArray[np.float64] | float = 0.0,
    pattern: NDArray[np.float64] | float = 0.0,
    n_cosmic_rays: int = 0,
    observation: Observation | None = None,
    noise: bool = True,
    measured_variance: bool = False,
    flag_sources: bool = False,
) -> SimulatedExposure:
    """Simulate a calibrated exposure of one detector.

    Parameters
    ----------
    catalogue : Catalogue
        Everything on the sky in this visit.
    wcs : `~astropy.wcs.WCS`
        Coordinates.
    shape : tuple of int
        Shape ``(ny, nx)``.
    psf : SimulatedPsf
        Point spread function.
    seed : int
        Same arguments and seed, same exposure.
    camera : Camera, optional
        The detector; a flawless one by default.
    zero_point : float
        AB magnitude of 1 adu.
    sky : float or ndarray
        Sky whose noise is in the image and whose level is subtracted [adu].
    background : float or ndarray
        What the subtraction left [adu].
    pattern : float or ndarray
        Relative response to the sky minus one: ``sky * pattern`` stays in the image.
    n_cosmic_rays : int
        How many tracks.
    observation : Observation, optional
        With it, refraction smears the light.
    noise : bool
        Whether there is photon and read noise. It is Gaussian, of the variance of the photons.
    measured_variance : bool
        Take the photon noise in the variance plane from the noisy pixels, as pipelines do, and not
        from the truth.
    flag_sources : bool
        Flag pixels as DETECTED where the sources are brighter than the noise.
    """
    camera = camera or Camera()
    seen = visible(catalogue, wcs, shape, psf)
    per_adu = 10 ** (0.4 * (31.4 - zero_point))
    drawn, y, x = draw_sources(seen, wcs, shape, psf, observation)
    sources = drawn / per_adu
    left = np.broadcast_to(background + sky * np.asarray(pattern, dtype=np.float64), shape)
    truth = Truth(seen, y, x, seen.flux / per_adu, sources, np.array(left))

    charge, full = bled(camera.gain * np.maximum(sources + left + sky, 0.0), camera.full_well)
    expected = charge + camera.read_noise**2
    if noise:
        normal = np.random.default_rng([seed, 1]).standard_normal(shape)
        charge = np.where(full, charge, charge + np.sqrt(expected) * normal)
    tracks = cosmic_rays(shape, n_cosmic_rays, np.random.default_rng([seed, 2]))
    charge = np.minimum(charge + tracks, camera.full_well)
    measured = np.maximum(charge, 0.0) + camera.read_noise**2
    variance = (measured if measured_variance else expected + tracks) / camera.gain**2
    image = charge / camera.gain - sky

    mask = np.zeros(shape, np.int32)
    flags = {"SAT": grown(full), "CR": tracks > 0}
    if flag_sources:
        flags["DETECTED"] = (
            sources > np.sqrt(camera.gain * sky + camera.read_noise**2) / camera.gain
        )
    flags["BAD"] = np.zeros(shape, np.bool_)
    for column, start, end, value in camera.bad_columns:
        flags["BAD"][start:end, column] = True
        image[start:end, column] = value
    if camera.lost is not None:
        flags["NO_DATA"] = np.zeros(shape, np.bool_)
        flags["NO_DATA"][camera.lost] = True
        image[camera.lost] = np.nan
        variance[camera.lost] = np.inf
    for plane, where in flags.items():
        mask[where] |= 1 << PLANES[plane][0]
    return SimulatedExposure(
        image.astype(np.float32),
        mask,
        variance.astype(np.float32),
        wcs,
        psf,
        truth,
        camera,
        zero_point,
        sky,
        observation,
    )
