"""Stamps of sources in two images, and what a basis of kernels makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.core.fft import irfft2, next_fast_len, rfft2
from skytool.core.psf.star_stamps import cut_stamps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LARGE = 1e30  # variance of pixels without a value


@dataclass(frozen=True, eq=False)
class KernelStamps:
    """Parts of two images around sources; ``a = b + n - 1`` for kernels of side n.

    Parameters
    ----------
    y, x : ndarray of float64, shape (n_stamps,)
        Positions of the sources, in the middle pixels [pixel].
    source, source_variance : ndarray of float64, shape (n_stamps, a, a)
        Of the image that is convolved.
    target : ndarray of float64, shape (n_stamps, b, b)
        Of the image that it is compared with.
    target_variance : ndarray of float64, shape (n_stamps, a, a)
        Variance of that one.
    good : ndarray of bool, shape (n_stamps, b, b)
        Pixels that are compared.
    """

    y: Floats
    x: Floats
    source: Floats
    source_variance: Floats
    target: Floats
    target_variance: Floats
    good: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def row(self) -> NDArray[np.intp]:
        """Middle rows, shape ``(n_stamps,)``."""
        return np.floor(self.y + 0.5).astype(np.intp)

    @property
    def column(self) -> NDArray[np.intp]:
        """Middle columns, shape ``(n_stamps,)``."""
        return np.floor(self.x + 0.5).astype(np.intp)

    @property
    def side(self) -> int:
        """Side b of the compared part [pixel]."""
        return int(self.target.shape[-1])

    @property
    def kernel_size(self) -> int:
        """Side of the kernels [pixel]."""
        return int(self.source.shape[-1]) - self.side + 1

    @property
    def inner(self) -> slice:
        """Part of the larger stamps that is compared."""
        half = self.kernel_size // 2
        return slice(half, half + self.side)

    @property
    def known_source_variance(self) -> Floats:
        """Variance of the source, zero where it has no value and is zero itself."""
        return np.where(self.source_variance < _LARGE, self.source_variance, 0.0)

    def of(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return some of the stamps."""
        return type(self)(
            self.y[which],
            self.x[which],
            self.source[which],
            self.source_variance[which],
            self.target[which],
            self.target_variance[which],
            self.good[which],
        )

    def variance(self, kernels: Floats) -> Floats:
        """Return the variance of the difference, shape ``(n_stamps, b, b)``.

        Parameters
        ----------
        kernels : ndarray of float64, shape (n_stamps, n, n) or (n, n)
            Convolution kernel of each stamp, or one for all.
        """
        a, n = self.source.shape[-1], self.kernel_size
        size = next_fast_len(a), next_fast_len(a)
        spectra = rfft2(self.source_variance, s=size)
        spectra *= rfft2(kernels**2, s=size)
        carried = irfft2(spectra, s=size)
        valid = carried[:, n - 1 : a, n - 1 : a]
        own = self.target_variance[:, self.inner, self.inner]
        return np.asarray(own + np.maximum(valid, 0.0), np.float64)

    def columns(self, basis: Floats) -> Floats:
        """Return the source convolved with every kernel, shape ``(n_stamps, n_basis, b * b)``.

        Parameters
        ----------
        basis : ndarray of float64, shape (n_basis, n, n)
            Kernels, applied as true convolutions.
        """
        n = self.kernel_size
        turned = np.ascontiguousarray(basis[:, ::-1, ::-1]).reshape(len(basis), n * n)
        out = np.empty((len(self), len(basis), self.side**2))
        for stamp, columns in zip(self.source, out, strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(stamp, (n, n))
            np.matmul(turned, windows.reshape(-1, n * n).T, out=columns)
        return out


def cut_kernel_stamps(
    source: NDArray[np.floating],
    target: NDArray[np.floating],
    *,
    source_variance: NDArray[np.floating],
    target_variance: NDArray[np.floating],
    bad: NDArray[np.bool_],
    y: Floats,
    x: Floats,
    kernel_size: int,
    half: int,
) -> KernelStamps:
    """Cut the stamps around sources out of two images.

    Parameters
    ----------
    source, source_variance : ndarray of float, shape (ny + 2 margin, nx + 2 margin)
        Image that is convolved, finite, wider than the other on all sides.
    target, target_variance : ndarray of float, shape (ny, nx)
        Image that it is compared with, finite.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that are not compared.
    y, x : ndarray of float64, shape (n_stamps,)
        Positions in the second image [pixel].
    kernel_size : int
        Side of the kernels [pixel].
    half : int
        Half side of the compared part [pixel].
    """
    margin = (source.shape[0] - target.shape[0]) // 2
    reach = half + kernel_size // 2

    row, column = (np.floor(at + 0.5).astype(np.intp) for at in (y, x))

    def cut(plane: NDArray[np.floating], border: int, reach: int, fill: float) -> Floats:
        return cut_stamps(plane, row + border, column + border, reach, fill=fill).astype(np.float64)

    return KernelStamps(
        y=y,
        x=x,
        source=cut(source, margin, reach, 0.0),
        source_variance=cut(source_variance, margin, reach, _LARGE),
        target=cut(target, 0, half, 0.0),
        target_variance=cut(target_variance, 0, reach, _LARGE),
        good=~cut_stamps(bad, row, column, half, fill=True),
    )
