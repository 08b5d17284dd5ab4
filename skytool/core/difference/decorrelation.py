"""Kernels that make the noise of a difference white, following the matching kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.fft import irfft2, rfft2
from skytool.core.matching.spatial_kernel import SpatialKernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.spatial_kernel import Domain

    Floats = NDArray[np.float64]

_LEAST_GRID = 64
_GRID_PER_SIZE = 4  # side of the Fourier grid over that of the kernel
_OUTSIDE = 1e-7  # power of a kernel that may be cut off, over that beside its middle
_LEAST_PSF_POWER = 1e-20  # of a PSF of sum one at any frequency
_LEAST_LEFT = 0.1  # of the power that a correlation of few lags tells, over its mean
_LEAST_POWER = 1e-3  # of correlated noise at any frequency, over its mean
_ORDERS = (2, 4, 6)
_INTERPOLATION = 5e-4  # largest error of interpolated kernels over their norm
_NEGLIGIBLE = 5e-5  # norm of a term over that of the kernel
_VARIANCE_ORDER = 2
_VARIANCE_NEGLIGIBLE = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class InputNoise:
    """Noise of one of two images before anything is convolved.

    Parameters
    ----------
    variance : float
        Of a pixel.
    correlation : ndarray of float64, shape (2 l + 1, 2 l + 1), or None
        Correlation of pixels, 1 in the middle; None for independent ones.
    """

    variance: float
    correlation: NDArray[np.float64] | None = None

    def power(self, side: int) -> Floats:
        """Return the power spectrum on a Fourier grid, shape ``(side, side // 2 + 1)``."""
        if self.correlation is None:
            return np.full((side, side // 2 + 1), self.variance)
        lags = self.correlation.shape[0] // 2
        wrapped = np.zeros((side, side))
        index = np.arange(-lags, lags + 1) % side
        wrapped[np.ix_(index, index)] = self.correlation
        spectrum = np.asarray(rfft2(wrapped).real, np.float64)
        return self.variance * np.maximum(spectrum, _LEAST_POWER)


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """What makes the noise of a difference white.

    Parameters
    ----------
    kernel : SpatialKernel
        Convolved with the difference; sum one.
    plain_squares, matched_squares : SpatialKernel
        What the variance of the image that was not convolved, and of the one that was, are
        convolved with.
    """

    kernel: SpatialKernel
    plain_squares: SpatialKernel
    matched_squares: SpatialKernel


def whitening(
    kernel: SpatialKernel,
    plain: InputNoise,
    matched: InputNoise,
    *,
    psf: NDArray[np.float64] | None = None,
    left: NDArray[np.float64] | None = None,
) -> Whitening:
    """Return the whitening of a difference of an image and a convolved one.

    Parameters
    ----------
    kernel : SpatialKernel
        Matching kernel.
    plain : InputNoise
        Of the image that is not convolved.
    matched : InputNoise
        Of the image that the kernel is applied to.
    psf : ndarray of float64, shape (h, w), optional
        PSF, of odd sides and sum one, that the first image was correlated with before the match.
        The result then is what a white difference gives if it is correlated with its own PSF.
    left : ndarray of float64, shape (2 l + 1, 2 l + 1), optional
        Correlation that was found in a difference that should be white: of the noise of the inputs
        that nothing else tells of. Its power goes with that of the noise of both.

    Notes
    -----
    With power spectra N_p and N_m, and the transform ``K`` of the matching kernel at a position,
    the transform of the whitening kernel there is
    ``sqrt((N_p(0) + N_m(0) K(0)^2) / (N_p + N_m |K|^2))`` (Reiss & Lupton 2016, for noise that may
    be correlated): fluxes are left as they are. It is evaluated at Chebyshev nodes over the image,
    more of them until the kernels between them are right. The variance of independent pixels is
    carried by the squares of the kernels that are applied to each image in all. With a PSF of
    transform ``P`` the kernel is ``(N_p(0) + N_m(0) K(0)^2) / (N_p + N_m |K / P|^2)`` (Zackay, Ofek
    & Gal-Yam 2016).
    """
    local = _LocalWhitening(plain, matched, kernel, psf, left)
    if kernel.is_constant:
        images = kernel.images[0]
        white = SpatialKernel.constant(local.white(images)[0])
        squares = [SpatialKernel.constant(found[0]) for found in local.squares(images)]
        return Whitening(kernel=white, plain_squares=squares[0], matched_squares=squares[1])
    white = SpatialKernel.constant(np.ones((1, 1)))
    for order in _ORDERS:
        images = local.white(kernel.at_many(**nodes(order, kernel.domain)))
        white = through_nodes(images, order, kernel.domain, negligible=_NEGLIGIBLE)
        between = nodes(order + 1, kernel.domain)
        truth = local.white(kernel.at_many(**between))
        error = np.linalg.norm(white.at_many(**between) - truth, axis=(1, 2))
        if np.max(error / np.linalg.norm(truth, axis=(1, 2))) < _INTERPOLATION:
            break
    order = _VARIANCE_ORDER
    kernels = kernel.at_many(**nodes(order, kernel.domain))
    squares = [
        through_nodes(images, order, kernel.domain, negligible=_VARIANCE_NEGLIGIBLE)
        for images in local.squares(kernels)
    ]
    return Whitening(kernel=white, plain_squares=squares[0], matched_squares=squares[1])


def through_nodes(
    images: Floats, order: int, domain: Domain, *, negligible: float = 0.0
) -> SpatialKernel:
    """Return the kernel that has given images at Chebyshev nodes.

    Parameters
    ----------
    images : ndarray of float64, shape ((order + 1)**2, h, w)
        At `nodes`.
    order : int
        Degree along each axis.
    domain : tuple of float
        Edges over which polynomials run from -1 to 1.
    negligible : float
        Terms whose norm is smaller, over that of the first, are left out.
    """
    n = order + 1
    angle = np.pi * (np.arange(n) + 0.5) / n
    turn = 2.0 / n * np.cos(np.outer(np.arange(n), angle))
    turn[0] *= 0.5
    grid = images.reshape(n, n, *images.shape[1:])
    terms = np.einsum("pa,qb,abhw->pqhw", turn, turn, grid, optimize=True)
    norms = np.linalg.norm(terms, axis=(2, 3))
    small = norms < negligible * norms[0, 0]
    # the sum is that of the first term: what is left out must not change it
    terms[small] = 0.0
    rows, columns = (np.flatnonzero(~small.all(axis=axis)).max(initial=0) for axis in (1, 0))
    return SpatialKernel(images=terms[: rows + 1, : columns + 1], domain=domain)


def nodes(order: int, domain: Domain) -> dict[str, Floats]:
    """Return the Chebyshev nodes of a degree along each axis: ``y`` and ``x``, shape ``(n,)``."""
    n = order + 1
    place = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    y_start, y_stop, x_start, x_stop = domain
    y = y_start + 0.5 * (place + 1.0) * (y_stop - y_start)
    x = x_start + 0.5 * (place + 1.0) * (x_stop - x_start)
    return {"y": np.repeat(y, n), "x": np.tile(x, n)}


class _LocalWhitening:
    """Whitening for matching kernels at single positions, all images cut to one size."""

    def __init__(
        self,
        plain: InputNoise,
        matched: InputNoise,
        kernel: SpatialKernel,
        psf: NDArray[np.float64] | None,
        left: NDArray[np.float64] | None,
    ) -> None:
        size = max(*kernel.images.shape[2:], *(() if psf is None else psf.shape))
        self.side = max(_LEAST_GRID, _GRID_PER_SIZE * size)
        self.side += self.side % 2
        common = InputNoise(variance=1.0, correlation=left).power(self.side)
        common = np.maximum(common, _LEAST_LEFT)
        self.plain, self.matched = (noise.power(self.side) * common for noise in (plain, matched))
        self.psf = None if psf is None else self._transform(psf[None])
        some = kernel.at_many(**nodes(2, kernel.domain))
        white, first, second = self._transforms(some)
        self.half = _enough(self._images(white))
        self.plain_half = _enough(self._images(first))
        self.matched_half = _enough(self._images(second))

    def _transform(self, kernels: Floats) -> NDArray[np.complex128]:
        """Return the transforms of kernels about their middle pixels."""
        n, h, w = kernels.shape
        wrapped = np.zeros((n, self.side, self.side))
        rows, columns = (np.arange(-(size // 2), size // 2 + 1) % self.side for size in (h, w))
        wrapped[:, rows[:, None], columns] = kernels
        return np.asarray(rfft2(wrapped), np.complex128)

    def _transforms(
        self, kernels: Floats
    ) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.complex128]]:
        """Return the transforms of the whitening, and of all that each image meets."""
        transform = self._transform(kernels)
        power = np.abs(transform) ** 2
        if self.psf is None:
            noise = self.plain + self.matched * power
            white = np.sqrt(noise[:, :1, :1] / noise).astype(np.complex128)
            return white, white, white * transform
        power /= np.maximum(np.abs(self.psf) ** 2, _LEAST_PSF_POWER)
        noise = self.plain + self.matched * power
        white = (noise[:, :1, :1] / noise).astype(np.complex128)
        return white, white * np.conj(self.psf), white * transform

    def _images(self, transforms: NDArray[np.complex128]) -> Floats:
        images = irfft2(transforms, s=(self.side, self.side))
        middle = self.side // 2
        return np.roll(images, (middle, middle), axis=(1, 2))

    def _cut(self, images: Floats, half: int) -> Floats:
        middle = self.side // 2
        part = slice(middle - half, middle + half + 1)
        return images[:, part, part]

    def white(self, kernels: Floats) -> Floats:
        """Return the whitening kernels of matching kernels; each has the sum one."""
        white, *_ = self._transforms(kernels)
        images = self._cut(self._images(white), self.half)
        return images / images.sum(axis=(1, 2), keepdims=True)

    def squares(self, kernels: Floats) -> tuple[Floats, Floats]:
        """Return the squares of the kernels that each of the two images meets in all."""
        _, first, second = self._transforms(kernels)
        found = []
        for transforms, half, noise in (
            (first, self.plain_half, self.plain),
            (second, self.matched_half, self.matched),
        ):
            images = self._images(transforms)
            # correlated pixels have more or less variance in sums than independent ones
            carried = self._power(np.abs(transforms) ** 2 * noise / self._mean(noise))
            share = carried / np.sum(images**2, axis=(1, 2))
            found.append(self._cut(images, half) ** 2 * share[:, None, None])
        return found[0], found[1]

    def _power(self, spectra: Floats) -> Floats:
        """Return the means of power spectra over all frequencies."""
        inner = spectra[..., 1 : (self.side + 1) // 2].sum(axis=(-2, -1))
        outer = spectra[..., :: self.side // 2].sum(axis=(-2, -1))
        return np.asarray((2.0 * inner + outer) / self.side**2, np.float64)

    def _mean(self, spectrum: Floats) -> float:
        return float(self._power(spectrum))


def _enough(images: Floats) -> int:
    """Return the half side that holds all but a negligible part of the power of kernels."""
    side = images.shape[-1]
    distance = np.abs(np.arange(side) - side // 2)
    ring = np.maximum(distance[:, None], distance).ravel()
    power = np.sum(images.reshape(len(images), -1) ** 2, axis=0)
    by_ring = np.bincount(ring, weights=power)
    beyond = by_ring[::-1].cumsum()[::-1]  # of this ring and all outer ones
    wings = beyond[1] if beyond.size > 1 else 0.0
    outside = np.flatnonzero(beyond > _OUTSIDE * wings)
    return int(max(min(outside.max(initial=1), side // 2 - 1), 1))
