"""Fit of a spatially varying matching kernel to stamps, with the rejection of bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.chebyshev import n_terms, term_degrees
from skytool.core.clipped import clipped_moments
from skytool.core.matching.kernel_cells import active_candidates
from skytool.core.matching.kernel_equations import (
    Equations,
    Solved,
    SpatialModel,
    single_equations,
    solve,
    spatial_equations,
)
from skytool.core.matching.kernel_noise import light_shares
from skytool.core.matching.kernel_singles import (
    SingleSolutions,
    common_kernel,
    solve_singles,
    stamp_residuals,
)
from skytool.core.matching.spatial_kernel import SpatialKernel, domain_terms
from skytool.core.statistics import IQR_TO_SIGMA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_fit_config import FitConfig
    from skytool.core.matching.kernel_stamps import KernelStamps
    from skytool.core.matching.spatial_kernel import Domain

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_FOLDS = 4
_PER_TERM = 2  # stamps for each term of a polynomial that they are to determine
_LEAST_FOR_CLIPPING = 5
_ROUNDS = 50  # of rejections by the stamps alone; each rejects one at least


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelFit:
    """A fitted kernel, and what became of the stamps.

    Parameters
    ----------
    kernel : SpatialKernel
        Convolution kernel.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernels it is made of.
    coefficients : ndarray of float64, shape (n_basis, n_p, n_q)
        Their Chebyshev coefficients.
    background : ndarray of float64, shape (n_p, n_q)
        Those of the background; zero where it is measured elsewhere.
    kernel_order, background_order : int
        Orders used.
    condition : float
        Of the equations.
    dropped : int
        Directions that the stamps do not determine.
    reason : ndarray of str, shape (n_stamps,)
        Why a stamp is not in the fit; empty for those that are.
    sums, residual_mean, residual_std : ndarray of float64, shape (n_stamps,)
        Sum of the kernel of each stamp, mean and standard deviation of what is left of it; NaN for
        those that were never in use.
    chi2 : float
        Weighted squares of the residuals for each pixel used.
    """

    kernel: SpatialKernel
    basis: Floats
    coefficients: Floats
    background: Floats
    kernel_order: int
    background_order: int
    condition: float
    dropped: int
    reason: NDArray[np.str_]
    sums: Floats
    residual_mean: Floats
    residual_std: Floats
    chi2: float


class FitError(ValueError):
    """No kernel can be fitted; says why, and which stamps were rejected."""

    def __init__(self, message: str, reason: NDArray[np.str_]) -> None:
        super().__init__(message)
        self.reason = reason


class KernelFitter:
    """Stamps on their way to a kernel.

    Parameters
    ----------
    stamps : KernelStamps
        Stamps in the order in which they are preferred.
    basis : ndarray of float64, shape (n_basis, n, n)
        Kernels, see `skytool.core.matching.kernel_basis.renormalized`.
    cells : ndarray of int, shape (n_stamps,)
        Cell of each stamp.
    domain : tuple of float
        Edges over which polynomials run from -1 to 1.
    config : FitConfig
        Settings.
    """

    def __init__(
        self,
        stamps: KernelStamps,
        basis: Floats,
        cells: NDArray[np.intp],
        domain: Domain,
        config: FitConfig,
    ) -> None:
        self.stamps, self.basis, self.cells = stamps, basis, cells
        self.domain, self.config = domain, config
        n = len(stamps)
        self.reason = np.full(n, "", "U20")
        self.mean, self.std = np.full(n, np.nan), np.full(n, np.nan)
        self.columns = stamps.columns(basis)
        self.target = stamps.target.reshape(n, -1)
        self.weight = self._weights()
        self.share = np.ones(n)
        self.is_corrected = config.weighting == "pixel" and config.correct_noise
        equations = single_equations(self.columns, self.target, self.weight)
        if config.weighting == "pixel":
            common = common_kernel(equations)
            kernel = np.tensordot(common, basis, axes=1)
            self.weight = self._inverse(stamps.variance(kernel))
            if self.is_corrected:
                light = common @ self.columns
                self.share = light_shares(stamps, light, self.weight, kernel=kernel)
            equations = single_equations(self.columns, self.target, self.weight)
        self.singles: SingleSolutions = solve_singles(equations, basis.sum(axis=(1, 2)))
        self.judged = np.zeros(n, np.bool_)

    def _weights(self) -> Floats:
        """Return weights that no kernel is needed for, shape ``(n_stamps, b * b)``."""
        stamps = self.stamps
        total = stamps.target_variance + stamps.source_variance
        if self.config.weighting == "stamp":
            median = np.median(total, axis=(1, 2))
            median[~(median > 0.0)] = 1.0
            total = np.broadcast_to(median[:, None, None], total.shape)
        return self._inverse(total[:, stamps.inner, stamps.inner])

    def _inverse(self, variance: Floats) -> Floats:
        usable = self.stamps.good & (variance > 0.0)
        inverse = np.divide(1.0, variance, out=np.zeros_like(variance), where=usable)
        return inverse.reshape(len(self.stamps), -1)

    @property
    def active(self) -> Flags:
        """Stamps in use."""
        return active_candidates(self.cells, self.reason != "", self.config.stars_per_cell)

    def _reject(self, which: Flags, reason: str) -> bool:
        which = which & (self.reason == "")
        self.reason[which] = reason
        return bool(which.any())

    def _judge(self, values: Floats, which: Flags, stage: str) -> bool:
        """Reject stamps of which too much is left; tell whether any was."""
        if not which.any():
            return False
        left = stamp_residuals(
            self.stamps.of(which),
            self.columns[which],
            values[which],
            basis=self.basis,
            accuracy=self.config.accuracy,
            core_radius=self.config.core_radius,
        )
        self.mean[which], self.std[which] = left.mean, left.std
        off, wide = np.zeros(which.size, np.bool_), np.zeros(which.size, np.bool_)
        off[which] = ~(np.abs(left.mean) <= self.config.max_residual_mean)
        wide[which] = ~(left.std <= self.config.max_residual_std)
        first = self._reject(off, f"{stage}: mean")
        return self._reject(wide, f"{stage}: scatter") or first

    def _clip_singles(self) -> None:
        """Reject stamps by their own kernels until none is rejected."""
        for _ in range(_ROUNDS * len(self.stamps) + 1):
            new = self.active & ~self.judged
            if new.any():
                self.judged |= new
                if self.config.single_clipping and self._judge(self.singles.values, new, "kernel"):
                    continue
            if not self.active.any():
                raise FitError("no stamp is left", self.reason)
            if not (self.config.sum_clipping and self._clip_sums()):
                return

    def _clip_sums(self) -> bool:
        """Reject stamps whose kernel has another sum than those of the others."""
        active = self.active
        sums, errors = self.singles.sums[active], self.singles.sum_errors[active]
        mean, scatter = clipped_moments(sums)
        if not np.isfinite(mean):
            raise FitError("the sums of the kernels are not finite", self.reason)
        if self.config.sum_scatter == "own":
            if len(sums) < _LEAST_FOR_CLIPPING:
                return False
            middle = float(np.median(sums))
            width = np.hypot(errors, self.config.sum_floor * abs(middle))
            inside = np.abs(sums - middle) <= self.config.max_sum_sigma * width
            if inside.any():
                mean = np.average(sums[inside], weights=1.0 / width[inside] ** 2)
            quartiles = np.percentile((sums - mean) / width, [25.0, 75.0])
            limit = width * max(IQR_TO_SIGMA * float(quartiles[1] - quartiles[0]), 1.0)
        else:
            limit = np.full(len(sums), scatter)
        off = np.zeros(active.size, np.bool_)
        off[active] = np.abs(sums - mean) > self.config.max_sum_sigma * limit
        return self._reject(off, "sum")

    def fit(self) -> KernelFit:
        """Fit, rejecting stamps, until none is rejected.

        Raises
        ------
        FitError
            If no stamp is left.
        """
        iteration, spatial = 0, None
        while iteration < self.config.max_iterations:
            self._clip_singles()
            spatial = self._spatial(spatial)
            if not self.config.spatial_clipping:
                break
            if not self._judge(self._local(spatial), self.active, "spatial fit"):
                break
            iteration += 1
        if not self.active.any():
            raise FitError("no stamp is left", self.reason)
        return self._result(self._spatial(spatial))

    def _spatial(self, before: _Spatial | None) -> _Spatial:
        """Fit the stamps in use, starting from the equations of an earlier set."""
        active = self.active
        if before is not None and np.array_equal(before.used, active):
            return before
        if before is None:
            orders = self._possible_orders(int(active.sum()))
            model = SpatialModel(
                n_basis=len(self.basis),
                kernel_order=orders[0],
                scale_order=min(self.config.scale_order, orders[0]),
                background_order=orders[1],
                domain=self.domain,
            )
            groups = [self._equations(model, active & self._fold(f)) for f in range(_FOLDS)]
        else:
            model, groups = before.model, list(before.groups)
            for f in range(_FOLDS):
                for changed, sign in ((active & ~before.used, 1), (before.used & ~active, -1)):
                    if (changed & self._fold(f)).any():
                        more = self._equations(model, changed & self._fold(f))
                        groups[f] = groups[f] + more if sign > 0 else groups[f] - more
        return _Spatial(model, tuple(groups), active, self.config)

    def _local(self, spatial: _Spatial) -> Floats:
        """Return factors of the basis, and the constant, of every stamp in a spatial fit."""
        factors, level = spatial.factors(self.stamps)
        if self.config.background == "sky":
            left = self.target - np.matmul(factors[:, None], self.columns)[:, 0]
            total = self.weight.sum(axis=1)
            level = np.sum(left * self.weight, axis=1) / np.where(total > 0.0, total, 1.0)
        return np.column_stack([factors, level])

    def _fold(self, number: int) -> Flags:
        return np.asarray(np.arange(len(self.stamps)) % _FOLDS == number)

    def _possible_orders(self, n_used: int) -> tuple[int, int]:
        """Return the orders of kernel and background that so many stamps can determine."""
        config = self.config
        kernel = config.max_kernel_order if config.kernel_order is None else config.kernel_order
        background = config.background_order if config.background == "stamps" else -1
        if not config.lower_orders:
            return kernel, background
        while kernel > 0 and _PER_TERM * n_terms(kernel) > n_used:
            kernel -= 1
        while background > 0 and _PER_TERM * n_terms(background) > n_used:
            background -= 1
        return kernel, background

    def _equations(self, model: SpatialModel, which: Flags) -> Equations:
        return spatial_equations(
            model,
            self.stamps.of(which),
            self.columns[which],
            self.weight[which] * self.share[which, None],
            own_constants=self.config.background == "sky",
            exact=self.config.design == "exact",
            basis=self.basis if self.is_corrected else None,
        )

    def _result(self, spatial: _Spatial) -> KernelFit:
        coefficients, background = spatial.model.parts(spatial.values)
        order = max(spatial.order, spatial.model.scale_order)
        coefficients = coefficients[:, : order + 1, : order + 1]
        used = self.active
        n_pixels = float(self.share[used] @ np.count_nonzero(self.weight[used], axis=1))
        self.reason[~used & (self.reason == "")] = "in reserve"
        return KernelFit(
            kernel=SpatialKernel.from_basis(self.basis, coefficients, self.domain),
            basis=self.basis,
            coefficients=coefficients,
            background=background,
            kernel_order=spatial.order,
            background_order=spatial.model.background_order,
            condition=spatial.solved.condition,
            dropped=spatial.solved.dropped,
            reason=self.reason,
            sums=np.where(self.judged, self.singles.sums, np.nan),
            residual_mean=self.mean,
            residual_std=self.std,
            chi2=spatial.chi2 / max(n_pixels, 1e-9),
        )


class _Spatial:
    """A spatial fit, and the equations it came from."""

    def __init__(
        self, model: SpatialModel, groups: tuple[Equations, ...], used: Flags, config: FitConfig
    ) -> None:
        self.model, self.groups, self.used = model, groups, used
        total = groups[0]
        for group in groups[1:]:
            total = total + group
        self.order = model.kernel_order
        if config.kernel_order is None:
            costs = [self._cost(total, order) for order in range(model.kernel_order + 1)]
            self.order = int(np.argmin(costs))
        unknowns = model.within(self.order, model.background_order)
        self.solved: Solved = solve(total.of(unknowns))
        self.values = np.zeros(model.n_unknowns)
        self.values[unknowns] = self.solved.values
        self.chi2 = total.chi2(self.values)

    def _cost(self, total: Equations, order: int) -> float:
        """Return what fits to the other groups leave of each group of stamps."""
        unknowns = self.model.within(order, self.model.background_order)
        cost = 0.0
        for group in self.groups:
            values = solve((total - group).of(unknowns)).values
            cost += group.of(unknowns).chi2_of_signal(values)
        return cost

    def factors(self, stamps: KernelStamps) -> tuple[Floats, Floats]:
        """Return factors of the basis and background at the source of every stamp."""
        coefficients, background = self.model.parts(self.values)
        order = coefficients.shape[-1] - 1
        terms = domain_terms(order, self.model.domain, y=stamps.y, x=stamps.x)
        p, q = term_degrees(order).T
        factors = terms @ coefficients[:, p, q].T
        order = background.shape[-1] - 1
        p, q = term_degrees(order).T
        level = domain_terms(order, self.model.domain, y=stamps.y, x=stamps.x) @ background[p, q]
        return factors, level
