"""Basis images of matching kernels: Gaussians times polynomials, single pixels, components.

Kernels are arrays ``(n, n)`` with odd ``n``, centred on the middle pixel; a basis is a stack
``(n_basis, n, n)`` of float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half maximum of a Gaussian over its standard deviation."""

DEFAULT_WIDTHS = (0.7, 1.5, 3.0)
DEFAULT_DEGREES = (4, 2, 2)

_ZERO_SUM = 1.2e-7  # sums below this are those of odd terms, zero but for rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class BasisShape:
    """Widths and size of a Gaussian basis.

    Parameters
    ----------
    widths : tuple of float
        Standard deviations of the Gaussians [pixel].
    size : int
        Side of the kernel [pixel], odd.
    mode : {"convolution", "deconvolution", "config"}
        Whether the widths come from the PSF sizes and in which sense, or from the settings.
    """

    widths: tuple[float, ...]
    size: int
    mode: Literal["convolution", "deconvolution", "config"]


def basis_shape(
    fwhm: float | None,
    target_fwhm: float | None,
    *,
    n_gauss: int = 3,
    beta: float = 2.0,
    min_sigma: float = 0.7,
    min_sigma_deconvolution: float = 0.4,
    default_widths: Sequence[float] = DEFAULT_WIDTHS,
    default_size: int = 21,
    size_scaling: float = 6.0,
    min_size: int = 21,
    max_size: int = 35,
) -> BasisShape:
    """Choose the widths and the size of a Gaussian basis from the sizes of two PSFs.

    Parameters
    ----------
    fwhm : float or None
        Size of the PSF of the image that is convolved [pixel].
    target_fwhm : float or None
        Size of the PSF to reach [pixel]; if either size is None the defaults are returned.
    n_gauss : int
        Number of Gaussians.
    beta : float
        Ratio of successive widths.
    min_sigma, min_sigma_deconvolution : float
        Smallest width where the target is the wider or the narrower PSF [pixel].
    default_widths, default_size
        Taken where a size is not known; the widths also where both PSFs are equally wide.
    size_scaling : float
        Kernel side over the largest width.
    min_size, max_size : int
        Bounds of the kernel side [pixel].

    Returns
    -------
    BasisShape
        Widths, size and the sense of the match.

    Raises
    ------
    ValueError
        If a size is not positive.

    Notes
    -----
    The Gaussian that turns one Gaussian PSF into another has ``s_K^2 = |s_R^2 - s_C^2|``; the
    widths run from ``s_K / beta`` upwards in steps of ``beta`` (Israel, Hessman & Schuh 2007;
    Becker et al. 2012).
    """
    if fwhm is None or target_fwhm is None:
        return BasisShape(widths=tuple(default_widths), size=default_size, mode="config")
    if not (fwhm > 0 and target_fwhm > 0):
        raise ValueError(f"PSF sizes must be positive, got {fwhm} and {target_fwhm}")
    sigma, target = fwhm / SIGMA_TO_FWHM, target_fwhm / SIGMA_TO_FWHM
    mode: Literal["convolution", "deconvolution", "config"] = "config"
    widths = tuple(default_widths)
    if sigma != target:
        mode = "convolution" if target > sigma else "deconvolution"
        floor = min_sigma if target > sigma else min_sigma_deconvolution
        kernel_sigma = max(floor, np.sqrt(abs(target**2 - sigma**2)))
        first = kernel_sigma if n_gauss == 1 else max(floor, kernel_sigma / beta)
        widths = tuple(float(first * beta**i) for i in range(n_gauss))
    size = int(size_scaling * max(widths))
    size = min(max(size + 1 - size % 2, min_size), max_size)
    return BasisShape(widths=widths, size=size, mode=mode)


def gaussian_polynomials(
    size: int, widths: Sequence[float], degrees: Sequence[int]
) -> NDArray[np.float64]:
    """Return Gaussians times the monomials up to a total degree.

    Parameters
    ----------
    size : int
        Side of the kernel [pixel], odd.
    widths : sequence of float
        Standard deviation of each Gaussian [pixel].
    degrees : sequence of int
        Highest total degree of the polynomial on each Gaussian.

    Returns
    -------
    ndarray of float64, shape (n_basis, size, size)
        Gaussian by Gaussian, monomials in the order 1, u, v, u^2, uv, v^2, ... with u along x
        and v along y running from -1 to 1 over the kernel.

    Raises
    ------
    ValueError
        If the size is even, a width is not positive, a degree is negative, or their numbers differ.

    Notes
    -----
    Alard & Lupton (1998). Each Gaussian is sampled at pixel centres and has unit sum.
    """
    _check_size(size)
    if len(widths) != len(degrees) or not widths:
        raise ValueError(
            f"{len(widths)} widths of Gaussians but {len(degrees)} degrees of polynomials"
        )
    if min(widths) <= 0 or min(degrees) < 0:
        raise ValueError(f"widths {tuple(widths)} must be positive, degrees {tuple(degrees)} >= 0")
    half = size // 2
    pixels = np.arange(-half, half + 1, dtype=np.float64)
    scaled = pixels / max(half, 1)
    terms = []
    for sigma, degree in zip(widths, degrees, strict=True):
        profile = np.exp(-0.5 * (pixels / sigma) ** 2)
        profile /= profile.sum()
        moments = profile * scaled ** np.arange(degree + 1)[:, None]
        terms += [
            np.outer(moments[power_y], moments[total - power_y])
            for total in range(degree + 1)
            for power_y in range(total + 1)
        ]
    return np.stack(terms)


def renormalized(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the sum of a kernel depend on the first coefficient alone.

    Parameters
    ----------
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernels; the first must have a sum.

    Returns
    -------
    ndarray of float64, shape (n_basis, n, n)
        The first with unit sum, the others with zero sum and unit norm; same span.

    Raises
    ------
    ValueError
        If the sum of the first kernel is zero.

    Notes
    -----
    Alard (2000). Terms whose sum is zero already are only scaled.
    """
    sums = basis.sum(axis=(1, 2))
    if abs(sums[0]) <= _ZERO_SUM:
        raise ValueError(f"the first kernel of a basis needs a sum, it is {sums[0]:.3g}")
    out = basis.astype(np.float64)
    out[0] /= sums[0]
    summed = np.abs(sums) > _ZERO_SUM
    summed[0] = False
    out[summed] = out[summed] / sums[summed, None, None] - out[0]
    norms = np.sqrt(np.sum(out * out, axis=(1, 2)))
    norms[0] = 1.0
    return out / np.where(norms > 0.0, norms, 1.0)[:, None, None]


def alard_lupton_basis(
    size: int,
    widths: Sequence[float] = DEFAULT_WIDTHS,
    degrees: Sequence[int] = DEFAULT_DEGREES,
) -> NDArray[np.float64]:
    """Return Gaussians times polynomials, with the sum in the first kernel alone.

    Parameters
    ----------
    size, widths, degrees
        As in `gaussian_polynomials`.

    Returns
    -------
    ndarray of float64, shape (n_basis, size, size)
        See `renormalized`; 27 kernels with the default degrees.
    """
    return renormalized(gaussian_polynomials(size, widths, degrees))


def delta_basis(size: int) -> NDArray[np.float64]:
    """Return one kernel per pixel, shape ``(size**2, size, size)``, in row-major order."""
    _check_size(size)
    return np.eye(size * size).reshape(size * size, size, size)


def principal_basis(
    kernels: NDArray[np.float64], n_components: int = 5, *, subtract_mean: bool = True
) -> NDArray[np.float64]:
    """Return the leading components of a set of kernels as a basis.

    Parameters
    ----------
    kernels : ndarray of float64, shape (n_kernels, n, n)
        Kernels of single candidates; each is divided by its sum first.
    n_components : int
        Size of the basis, the mean included.
    subtract_mean : bool
        Whether the components describe deviations from the mean kernel, which then comes first.

    Returns
    -------
    ndarray of float64, shape (n_basis, n, n)
        See `renormalized`; at most `n_components`, fewer if the set has fewer dimensions.

    Raises
    ------
    ValueError
        If a kernel has no sum or `n_components` is less than 1.
    """
    if n_components < 1:
        raise ValueError(f"a basis needs at least one component, got {n_components}")
    sums = kernels.sum(axis=(1, 2))
    if not np.all(np.abs(sums) > _ZERO_SUM):
        raise ValueError("every kernel needs a sum to be compared with the others")
    vectors = (kernels / sums[:, None, None]).reshape(len(kernels), -1)
    mean = vectors.mean(axis=0)
    centred = vectors - mean if subtract_mean else vectors
    _, values, components = np.linalg.svd(centred, full_matrices=False)
    rank = int(np.sum(values > 1e-12 * max(values[0], np.linalg.norm(mean))))
    if subtract_mean:
        chosen = np.concatenate([mean[None], components[: min(n_components - 1, rank)]])
    else:
        chosen = components[: min(n_components, rank)]
    return renormalized(chosen.reshape(-1, *kernels.shape[1:]))


def _check_size(size: int) -> None:
    """Refuse kernels without a middle pixel."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the side of a kernel must be odd and positive, got {size}")
