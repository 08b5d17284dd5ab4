"""Least-squares solutions for kernels that bring a varying PSF to a model.

All minimise ``sum_c (|K_c * P_c - M|^2 + ridge |K_c|^2)`` over the kernels
``K_c = sum_ij a_ij f_j(c) B_i``, with the terms f of the position of cell c and basis images B.
Stamps are odd, centred on the middle pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CHUNK = 64


@dataclass(frozen=True, eq=False)
class Solution:
    """Basis images and the coefficients of their terms.

    Parameters
    ----------
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernel images.
    coefficients : ndarray of float64, shape (n_basis, n_terms)
        Factor of each image and term, terms in the order of `chebyshev.term_degrees`.
    """

    basis: Floats
    coefficients: Floats

    def kernels(self, terms: Floats) -> Floats:
        """Return the kernels of cells with the given terms, shape ``(n_cells, n, n)``."""
        return np.tensordot(terms @ self.coefficients.T, self.basis, axes=1)

    def term_images(self) -> Floats:
        """Return the kernel image of every term, shape ``(n_terms, n, n)``."""
        return np.tensordot(self.coefficients.T, self.basis, axes=1)

    def unit_sum(self) -> Solution:
        """Return the solution with a kernel sum of one everywhere.

        The constant term is divided by its sum; sums of other terms are taken out with its shape,
        to first order the same as dividing the kernel by its sum at every position.
        """
        sums = self.term_images().sum(axis=(1, 2))
        first = self.coefficients[:, 0] / sums[0]
        rest = self.coefficients[:, 1:] / sums[0] - np.outer(first, sums[1:] / sums[0])
        return replace(self, coefficients=np.column_stack([first, rest]))


class Solver(Protocol):
    """Data of a fit, from which solutions for any ridge come at little cost."""

    def solve(self, ridge: float) -> Solution:
        """Return the solution for a ridge."""
        ...


class WienerSolver:
    """Kernel pixels free, one frequency at a time.

    Parameters
    ----------
    psfs : ndarray of float64, shape (n_cells, h, h)
        PSFs.
    target : ndarray of float64, shape (m, m)
        Model.
    terms : ndarray of float64, shape (n_cells, n_terms)
        Terms of the position of each cell.
    kernel_size : int
        Box that the kernel is cut to [pixel].

    Notes
    -----
    For one cell this is the Wiener filter ``conj(P) M / (|P|^2 + ridge)`` in Fourier space; for
    several it is the least-squares solution of them together.
    """

    def __init__(self, psfs: Floats, target: Floats, terms: Floats, kernel_size: int) -> None:
        self.kernel_size = kernel_size
        self.power, self.cross, self.side = _spectra(psfs, target, terms)
        self.overlap = terms.T @ terms

    def solve(self, ridge: float) -> Solution:
        """Return one image per term, each with coefficient one."""
        from scipy.fft import irfft2

        matrices = np.moveaxis(self.power, (0, 1), (-2, -1)) + ridge * self.overlap
        right = np.stack([self.cross.real, self.cross.imag], axis=-1)
        parts = np.linalg.solve(matrices, np.moveaxis(right, 0, -2))
        spectra = np.moveaxis(parts[..., 0] + 1j * parts[..., 1], -1, 0)
        wide = irfft2(spectra, s=(self.side, self.side))
        pixels = np.arange(self.kernel_size) - self.kernel_size // 2
        return Solution(wide[:, pixels[:, None], pixels], np.eye(len(self.overlap)))


class FourierSolver:
    """A given basis, all pixels that the kernel brings light to, from normal equations.

    Parameters
    ----------
    psfs, target, terms
        As in `WienerSolver`.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernel images, the first with unit sum and the others with zero sum.

    Notes
    -----
    The sums over pixels are sums over frequencies (Parseval), where the cells enter only through
    the power spectra summed with each pair of terms: the cost hardly depends on their number.
    """

    def __init__(self, psfs: Floats, target: Floats, terms: Floats, basis: Floats) -> None:
        power, cross, side = _spectra(psfs, target, terms)
        weight = np.full(power.shape[-1], 2.0 / side**2)
        weight[0] /= 2.0
        if side % 2 == 0:
            weight[-1] /= 2.0
        transforms = _centred_transform(basis, side)
        flat = np.concatenate([transforms.real, transforms.imag], axis=1).reshape(len(basis), -1)
        n_terms = terms.shape[1]
        matrix = np.empty((len(basis), n_terms, len(basis), n_terms))
        for j in range(n_terms):
            for k in range(j + 1):
                spectrum = np.tile(power[j, k] * weight, (2, 1)).ravel()
                matrix[:, j, :, k] = matrix[:, k, :, j] = (flat * spectrum) @ flat.T
        sums = np.concatenate([cross.real, cross.imag], axis=1) * weight
        pixels = basis.reshape(len(basis), -1)
        smooth = np.einsum("ik,jl->ijkl", pixels @ pixels.T, terms.T @ terms)
        self.basis = basis
        self.free = _free_coefficients(len(basis), n_terms)
        self.matrix = matrix[self.free][:, self.free]
        self.vector = (flat @ sums.reshape(n_terms, -1).T)[self.free]
        self.smooth = smooth[self.free][:, self.free]

    def solve(self, ridge: float) -> Solution:
        """Return the solution for a ridge."""
        matrix = self.matrix + ridge * self.smooth
        scale = 1.0 / np.sqrt(np.diag(matrix))
        values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
        kept = values > values[-1] * len(values) * np.finfo(float).eps
        seen = vectors[:, kept]
        solution = scale * (seen @ ((seen.T @ (scale * self.vector)) / values[kept]))
        return _spread(self.basis, self.free, solution)


class DirectSolver:
    """A given basis and the pixels whose convolution lies inside the PSF stamp.

    Parameters
    ----------
    psfs : ndarray of float64, shape (n_cells, h, h)
        PSFs.
    target : ndarray of float64, shape (h, h)
        Model.
    terms : ndarray of float64, shape (n_cells, n_terms)
        Terms of the position of each cell.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernel images, the first with unit sum and the others with zero sum.

    Notes
    -----
    The design matrix is reduced by QR, cell by cell: the condition number is that of the problem
    and not its square, which matters since there may be no ridge.
    """

    def __init__(self, psfs: Floats, target: Floats, terms: Floats, basis: Floats) -> None:
        n_basis, n_terms, size = len(basis), terms.shape[1], basis.shape[-1]
        self.basis = basis
        self.free = _free_coefficients(n_basis, n_terms)
        turned = basis[:, ::-1, ::-1].reshape(n_basis, -1).T
        half = size // 2
        inner = target[half : target.shape[0] - half, half : target.shape[1] - half].reshape(-1, 1)
        self.rows = np.zeros((0, int(self.free.sum()) + 1))
        for start in range(0, len(psfs), _CHUNK):
            windows = np.lib.stride_tricks.sliding_window_view(
                psfs[start : start + _CHUNK], (size, size), axis=(1, 2)
            )
            design = windows.reshape(len(windows), -1, size * size) @ turned
            data = np.broadcast_to(inner, (len(design), *inner.shape))
            reduced = _triangular(np.concatenate([design, data], axis=2))
            here = terms[start : start + _CHUNK]
            wide = np.einsum("crb,ct->crbt", reduced[:, :, :-1], here)[:, :, self.free]
            rows = np.concatenate([wide, reduced[:, :, -1:]], axis=2)
            self.rows = np.concatenate([self.rows, rows.reshape(-1, rows.shape[-1])])
            if len(self.rows) > self.rows.shape[1]:
                self.rows = _triangular(self.rows)
        pixels, cells = _triangular(basis.reshape(n_basis, -1).T), _triangular(terms)
        self.smooth = np.einsum("ai,bj->abij", pixels, cells)[:, :, self.free]

    def solve(self, ridge: float) -> Solution:
        """Return the solution for a ridge."""
        smooth = np.sqrt(ridge) * self.smooth.reshape(-1, self.smooth.shape[-1])
        design = np.concatenate([self.rows[:, :-1], smooth])
        data = np.concatenate([self.rows[:, -1], np.zeros(len(smooth))])
        return _spread(self.basis, self.free, np.linalg.lstsq(design, data)[0])


def resized_stamps(stamps: Floats, size: int) -> Floats:
    """Return centred stamps cut or padded with zeros to another odd side.

    Parameters
    ----------
    stamps : ndarray of float64, shape (..., h, w)
        Odd sides.
    size : int
        New side [pixel].

    Returns
    -------
    ndarray of float64, shape (..., size, size)
        The same pixel in the middle.
    """
    out = np.zeros((*stamps.shape[:-2], size, size))
    half_y, half_x = (min(side, size) // 2 for side in stamps.shape[-2:])
    old_y, old_x, new = stamps.shape[-2] // 2, stamps.shape[-1] // 2, size // 2
    out[..., new - half_y : new + half_y + 1, new - half_x : new + half_x + 1] = stamps[
        ..., old_y - half_y : old_y + half_y + 1, old_x - half_x : old_x + half_x + 1
    ]
    return out


def _spectra(
    psfs: Floats, target: Floats, terms: Floats
) -> tuple[Floats, NDArray[np.complex128], int]:
    """Return power and cross spectra summed with the terms, and the side of the transforms."""
    from scipy.fft import next_fast_len

    side = int(next_fast_len(psfs.shape[-1] + target.shape[-1], real=True))
    n_terms, columns = terms.shape[1], side // 2 + 1
    pairs = terms[:, :, None] * terms[:, None, :]
    power = np.zeros((n_terms * n_terms, side * columns))
    mean = np.zeros((n_terms, side * columns), dtype=np.complex128)
    for start in range(0, len(psfs), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        spectra = _centred_transform(psfs[chunk], side).reshape(-1, side * columns)
        power += pairs[chunk].reshape(len(spectra), -1).T @ (spectra.real**2 + spectra.imag**2)
        mean += terms[chunk].T @ spectra.conj()
    cross = mean.reshape(n_terms, side, columns) * _centred_transform(target[None], side)
    return power.reshape(n_terms, n_terms, side, columns), cross, side


def _centred_transform(stamps: Floats, side: int) -> NDArray[np.complex128]:
    """Return the transforms of stamps whose middle pixel is the origin."""
    from scipy.fft import rfft2

    wide = np.zeros((len(stamps), side, side))
    pixels = np.arange(stamps.shape[-1]) - stamps.shape[-1] // 2
    wide[:, pixels[:, None], pixels] = stamps
    return np.asarray(rfft2(wide), np.complex128)


def _free_coefficients(n_basis: int, n_terms: int) -> NDArray[np.bool_]:
    """Return which coefficients are fitted: the first image, which has the sum, is constant."""
    free = np.ones((n_basis, n_terms), dtype=np.bool_)
    free[0, 1:] = False
    return free


def _triangular(matrices: Floats) -> Floats:
    """Return the factor R of QR decompositions: the same normal equations in fewer rows."""
    return np.asarray(np.linalg.qr(matrices, mode="r"), np.float64)


def _spread(basis: Floats, free: NDArray[np.bool_], values: Floats) -> Solution:
    """Return the solution with fitted coefficients in their places."""
    coefficients = np.zeros(free.shape)
    coefficients[free] = values
    return Solution(basis, coefficients)
