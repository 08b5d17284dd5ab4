"""Kernels that bring a varying PSF to one model PSF everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import alard_lupton_basis, basis_shape
from skytool.core.matching.psf_match_config import padded_psf_size
from skytool.core.matching.psf_match_solvers import (
    DirectSolver,
    FourierSolver,
    WienerSolver,
    resized_stamps,
)
from skytool.core.matching.spatial_kernel import SpatialKernel, domain_terms, from_triangular
from skytool.core.psf.adaptive_moments import AdaptiveMoments, adaptive_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.model_psf import ModelPsf
    from skytool.core.matching.psf_match_config import PsfMatchConfig
    from skytool.core.matching.psf_match_solvers import Solution, Solver
    from skytool.core.matching.spatial_kernel import Domain

_ENCLOSED = 0.995  # part of the light of the model that a kernel of automatic size holds
_LEAST_SIDE = 21  # of a kernel of automatic size: those of narrow PSFs oscillate [pixel]
_TAPERED = 0.95  # part of the light a kernel must hold for the model to be tapered: less narrows it
_RING = 2  # width of the outer ring of a kernel [pixel]
_RIDGE_STEP = math.sqrt(10.0)
_LEAST_RIDGE = 1e-10
_MAX_RIDGE = 1e4
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class CellDiagnostics:
    """How well the match works in each cell; all arrays have shape ``(n_cells,)``.

    Parameters
    ----------
    y, x : ndarray of float64
        Centre of the cell [pixel].
    residual : ndarray of float64
        ``sum (K * P - M)^2 / sum M^2``.
    noise_gain : ndarray of float64
        ``sum K^2``, the factor on the variance of white noise.
    ring_fraction : ndarray of float64
        Part of ``sum |K|`` in the outer ring of two pixels.
    negative : ndarray of float64
        ``min K / max K``.
    fwhm_in, fwhm_out : ndarray of float64
        Widths before and after from adaptive moments [pixel]; NaN where they do not converge.
    ellipticity_out : ndarray of float64
        Distortion of the matched PSF.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    residual: NDArray[np.float64]
    noise_gain: NDArray[np.float64]
    ring_fraction: NDArray[np.float64]
    negative: NDArray[np.float64]
    fwhm_in: NDArray[np.float64]
    fwhm_out: NDArray[np.float64]
    ellipticity_out: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PsfMatch:
    """A matching kernel with what it reaches.

    Parameters
    ----------
    kernel : SpatialKernel
        Convolution kernel of unit sum everywhere.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernel images.
    coefficients : ndarray of float64, shape (n_basis, n_p, n_q)
        Their Chebyshev coefficients over the domain of the kernel.
    target : ndarray of float64, shape (m, m)
        Model PSF that was aimed at, unit sum.
    matched : ndarray of float64, shape (l, l)
        PSF that is reached, the mean over the cells.
    target_fwhm : float
        Width of the target from adaptive moments [pixel].
    cells : CellDiagnostics
        Quality per cell.
    ridge : float
        Ridge used.
    spatial_order : int
        Order used.
    psf_size : int
        Side of the PSF stamps after padding [pixel].
    """

    kernel: SpatialKernel
    basis: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    target: NDArray[np.float64]
    matched: NDArray[np.float64]
    target_fwhm: float
    cells: CellDiagnostics
    ridge: float
    spatial_order: int
    psf_size: int


def automatic_kernel_size(model: ModelPsf) -> int:
    """Return the side of the kernel that brings a PSF to a model, if none is given [pixel]."""
    return max(2 * model.half_size_enclosing(_ENCLOSED) + 1, _LEAST_SIDE)


def match_to_model(
    psfs: NDArray[np.float64],
    model: ModelPsf,
    *,
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    domain: Domain,
    config: PsfMatchConfig,
) -> PsfMatch:
    """Find the kernel that brings a varying PSF to a model.

    Parameters
    ----------
    psfs : ndarray of float64, shape (n_cells, h, w)
        PSF images with odd sides, centred on the middle pixel.
    model : ModelPsf
        PSF to reach.
    y, x : ndarray of float64, shape (n_cells,)
        Where each PSF was evaluated [pixel].
    domain : tuple of float
        Pixel edges over which the polynomials of the position run from -1 to 1.
    config : PsfMatchConfig
        Settings.

    Returns
    -------
    PsfMatch
        The kernel and how well it works.

    Raises
    ------
    ValueError
        If the PSFs are not finite or have no light, or kernel and stamps do not go together.

    Notes
    -----
    Minimises ``sum_cells (sum (K * P - M)^2 + ridge sum K^2)`` over kernels that are Chebyshev
    polynomials of the position. The model is brought to zero smoothly at the reach of the kernel,
    so that every PSF narrower than it can be brought to the same one; this changes its width by
    less than 1e-3. It is left as it is where the kernel holds less than 95 per cent of its light.
    A constant PSF gives a constant kernel.
    """
    psfs = _unit_stamps(psfs)
    if np.all(psfs == psfs[0]):
        return _matched(psfs[:1], model, y[:1], x[:1], domain, config)
    return _matched(psfs, model, y, x, domain, config)


def _matched(
    psfs: NDArray[np.float64],
    model: ModelPsf,
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    domain: Domain,
    config: PsfMatchConfig,
) -> PsfMatch:
    """Solve and judge."""
    kernel_size = config.kernel_size or automatic_kernel_size(model)
    psf_size = padded_psf_size(
        psfs.shape[1],
        kernel_size,
        auto_pad=config.auto_pad,
        auto_pad_to=config.auto_pad_to,
        pad_by=config.pad_by,
    )
    psfs = resized_stamps(psfs, psf_size)
    target = _target(model, kernel_size, psf_size, config)
    if config.region == "valid":
        # a fit without ridge depends on the last digits: those of images in single precision
        psfs, target = (stamps.astype(np.float32).astype(np.float64) for stamps in (psfs, target))
    order, terms = _position_terms(config.spatial_order, domain, y, x)
    solver = _solver(psfs, target, terms, kernel_size, config)
    ridge, solution = _limited(solver, terms, config)
    if config.normalization == "first":
        solution.coefficients[0, 0] = 1.0
    solution = solution.unit_sum()
    coefficients = from_triangular(solution.coefficients, order)
    kernel = SpatialKernel.from_basis(solution.basis, coefficients, domain)
    cells, matched = _judged(kernel, psfs, target, y, x)
    return PsfMatch(
        kernel=kernel,
        basis=solution.basis,
        coefficients=coefficients,
        target=target,
        matched=matched,
        target_fwhm=adaptive_moments(target).fwhm,
        cells=cells,
        ridge=ridge,
        spatial_order=order,
        psf_size=psf_size,
    )


def _unit_stamps(psfs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return square PSF stamps of unit sum."""
    if psfs.ndim != 3 or len(psfs) == 0 or psfs.shape[1] % 2 == 0 or psfs.shape[2] % 2 == 0:
        raise ValueError(f"PSFs need the shape (n_cells, h, w) with odd sides, got {psfs.shape}")
    sums = psfs.sum(axis=(1, 2))
    if not np.all(np.isfinite(psfs)) or np.any(sums <= 0):
        raise ValueError("a PSF is not finite or has no light")
    return resized_stamps(psfs / sums[:, None, None], max(psfs.shape[1:]))


def _target(
    model: ModelPsf, kernel_size: int, psf_size: int, config: PsfMatchConfig
) -> NDArray[np.float64]:
    """Return the model on the stamp that the fit compares with."""
    if config.region == "valid":
        return model.image(psf_size)
    half = kernel_size // 2
    if config.taper is None or model.enclosed(half) < _TAPERED:
        return model.image(max(psf_size, 2 * kernel_size - 1))
    start, stop = config.taper[0] * half, config.taper[1] * half
    return model.image(2 * math.ceil(stop) + 1, taper=(start, stop))


def _position_terms(
    order: int, domain: Domain, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[int, NDArray[np.float64]]:
    """Return the highest order that the positions determine, with its terms."""
    while True:
        terms = domain_terms(order, domain, y=y, x=x)
        if order == 0 or np.linalg.matrix_rank(terms) == terms.shape[1]:
            return order, terms
        order -= 1


def _solver(
    psfs: NDArray[np.float64],
    target: NDArray[np.float64],
    terms: NDArray[np.float64],
    kernel_size: int,
    config: PsfMatchConfig,
) -> Solver:
    """Return the least-squares problem that the settings ask for."""
    if config.basis == "wiener":
        return WienerSolver(psfs, target, terms, kernel_size)
    sigmas = config.sigmas
    if sigmas is None:
        widths = (adaptive_moments(stamp).fwhm for stamp in (psfs.mean(axis=0), target))
        sigmas = basis_shape(*widths, n_gauss=len(config.degrees)).widths
    basis = alard_lupton_basis(kernel_size, sigmas, config.degrees)
    solver = DirectSolver if config.region == "valid" else FourierSolver
    return solver(psfs, target, terms, basis)


def _limited(
    solver: Solver, terms: NDArray[np.float64], config: PsfMatchConfig
) -> tuple[float, Solution]:
    """Return the solution, with the ridge raised until the noise gain is allowed everywhere."""
    ridge = config.ridge
    while True:
        solution = solver.solve(ridge)
        if config.max_noise_gain is None or ridge > _MAX_RIDGE:
            return ridge, solution
        kernels = solution.unit_sum().kernels(terms)
        if np.max(np.sum(kernels * kernels, axis=(1, 2))) <= config.max_noise_gain:
            return ridge, solution
        ridge = max(ridge, _LEAST_RIDGE) * _RIDGE_STEP


def _judged(
    kernel: SpatialKernel,
    psfs: NDArray[np.float64],
    target: NDArray[np.float64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
) -> tuple[CellDiagnostics, NDArray[np.float64]]:
    """Return the quality of the match in every cell, and the mean PSF reached."""
    side = kernel.images.shape[-1] + psfs.shape[-1] - 1
    compared = max(side, target.shape[0])
    goal = resized_stamps(target, compared)
    mean = np.zeros((side, side))
    table = []
    seen_in = seen_out = None
    for start in range(0, len(psfs), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        kernels = kernel.at_many(y=y[chunk], x=x[chunk])
        reached = _full_convolutions(kernels, psfs[chunk], side)
        mean += reached.sum(axis=0)
        difference = resized_stamps(reached, compared) - goal
        residual = np.sum(difference**2, axis=(1, 2)) / np.sum(goal**2)
        for k, psf, after, left in zip(kernels, psfs[chunk], reached, residual, strict=True):
            seen_in, seen_out = _moments(psf, seen_in), _moments(after, seen_out)
            weight = np.abs(k)
            ring = 1.0 - weight[_RING:-_RING, _RING:-_RING].sum() / weight.sum()
            table.append(
                (
                    left,
                    np.sum(k * k),
                    ring,
                    k.min() / k.max(),
                    seen_in.fwhm if seen_in else np.nan,
                    seen_out.fwhm if seen_out else np.nan,
                    seen_out.ellipticity if seen_out else np.nan,
                )
            )
    return CellDiagnostics(y, x, *np.array(table).T), mean / len(psfs)


def _full_convolutions(
    kernels: NDArray[np.float64], psfs: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    """Return every kernel convolved with its PSF, nothing cut off."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    size = (int(next_fast_len(side, real=True)),) * 2
    wide = irfft2(rfft2(kernels, s=size) * rfft2(psfs, s=size), s=size)
    return np.asarray(wide[:, :side, :side], np.float64)


def _moments(image: NDArray[np.float64], start: AdaptiveMoments | None) -> AdaptiveMoments | None:
    """Return the adaptive moments, from those of a neighbouring cell on; None if there are none."""
    try:
        return adaptive_moments(image, start=start, tolerance=1e-4)
    except ValueError:
        return None
