"""The linear system of all pairs of overlapping images, for corrections of one order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.background.chebyshev import n_terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairCells:
    """What the cells of two overlapping images say.

    Parameters
    ----------
    first, second : int
        Numbers i and j of the images.
    values : ndarray of float64, shape (n,)
        Differences, second less first [unit of image].
    weights : ndarray of float64, shape (n,)
        Inverse variances of the differences.
    shares : ndarray of float64, shape (2,)
        Part of the variance that comes from each image; they add up to one.
    cells : ndarray of int64, shape (n,)
        Number of each cell in the grid that all pairs share.
    basis : ndarray of float64, shape (n, n_terms)
        Terms for each value.
    """

    first: int
    second: int
    values: Floats
    weights: Floats
    shares: Floats
    cells: NDArray[np.int64]
    basis: Floats


@dataclass(frozen=True, eq=False)
class OverlapSolution:
    """Corrections of all images.

    Parameters
    ----------
    terms : ndarray of float64, shape (n_images, n_terms)
        Factors of the terms of the correction that is added to each image.
    covariance : ndarray of float64, shape (n_images, n_terms, n_terms)
        Their covariance in the gauge chosen [unit of image squared].
    components : ndarray of int64, shape (n_images,)
        Group of each image; images of different groups have no relation to each other.
    anchors : tuple of int
        Image of each group that the gauge leaves as it is; -1 where there is none.
    order : int
        Total degree of the corrections.
    residuals : tuple of ndarray
        Values less the solution, for each pair.
    used : tuple of ndarray of bool
        Which of them entered.
    chi2 : float
        Weighted sum of the squared residuals of these.
    dof : int
        Their number less the number of factors determined.
    scores : ndarray of float64
        Errors of prediction of the orders compared, if any were.
    """

    terms: Floats
    covariance: Floats
    components: NDArray[np.int64]
    anchors: tuple[int, ...]
    order: int
    residuals: tuple[Floats, ...]
    used: tuple[NDArray[np.bool_], ...]
    chi2: float
    dof: int
    scores: Floats


class Moments(NamedTuple):
    """Weighted sums over the cells of a pair, for all terms.

    Parameters
    ----------
    gram : ndarray of float64, shape (n_terms, n_terms)
        Of products of terms.
    right : ndarray of float64, shape (n_terms,)
        Of terms times values.
    n_values : int
        Number of cells.
    """

    gram: Floats
    right: Floats
    n_values: int


def moments_of(pair: PairCells, use: NDArray[np.bool_]) -> Moments:
    """Return the sums over some of the cells of a pair."""
    rows = pair.basis[use]
    weighted = rows * pair.weights[use][:, None]
    return Moments(rows.T @ weighted, weighted.T @ pair.values[use], int(use.sum()))


class Folds:
    """Parts of the cells that are left out of all pairs in turn.

    Parameters
    ----------
    pairs : sequence of PairCells
        The pairs.
    used : sequence of ndarray of bool
        Which of their cells enter.
    n : int
        Number of parts.
    """

    def __init__(
        self, pairs: Sequence[PairCells], used: Sequence[NDArray[np.bool_]], n: int
    ) -> None:
        self.n = n
        n_cells = 1 + max(int(pair.cells.max()) for pair in pairs)
        # Spread over the frame, not along rows and columns.
        self.numbers = np.arange(n_cells) * 7919 % 10007 % n
        self.seen = np.zeros(n_cells, bool)
        for pair, use in zip(pairs, used, strict=True):
            self.seen[pair.cells[use]] = True
        self._parts = [
            [moments_of(pair, use & (self.numbers[pair.cells] == k)) for k in range(n)]
            for pair, use in zip(pairs, used, strict=True)
        ]

    def without(self, left_out: int) -> list[Moments]:
        """Return the sums of each pair without a part of the cells."""
        return [
            Moments(
                np.sum([part.gram for part in kept], axis=0),
                np.sum([part.right for part in kept], axis=0),
                sum(part.n_values for part in kept),
            )
            for parts in self._parts
            if (kept := [part for k, part in enumerate(parts) if k != left_out])
        ]


class OverlapSystem:
    """The linear system of one order, in terms that are orthonormal over all cells."""

    def __init__(
        self,
        pairs: Sequence[PairCells],
        used: Sequence[NDArray[np.bool_]],
        moments: Sequence[Moments],
        n_images: int,
        order: int,
        groups: NDArray[np.int64],
        fixed: Mapping[int, float],
        free: Sequence[int],
    ) -> None:
        self.pairs, self.used, self.order, self.groups = pairs, used, order, groups
        self.n_images, self.fixed, self.free = n_images, fixed, free
        self.n_values = sum(one.n_values for one in moments)
        self.n = n_terms(order)
        self.change = self._orthonormal_terms(moments)
        size = self.n * n_images
        self.matrix, self.target = np.zeros((size, size)), np.zeros(size)
        for pair, one in zip(pairs, moments, strict=True):
            self._add(pair, one)
        self.values, self.vectors, self.count = self._decomposed()

    def _rows(self, pair: PairCells) -> Floats:
        return np.asarray(pair.basis[:, : self.n] @ self.change)

    def _orthonormal_terms(self, moments: Sequence[Moments]) -> Floats:
        """Return combinations of the terms that are orthonormal over the cells of all pairs."""
        gram = np.sum([one.gram[: self.n, : self.n] for one in moments], axis=0)
        total = gram[0, 0] if gram[0, 0] > 0 else 1.0
        try:
            lower = np.linalg.cholesky(gram / total)
        except np.linalg.LinAlgError:
            return np.eye(self.n)
        return np.asarray(np.linalg.inv(lower).T)

    def _block(self, image: int) -> slice:
        return slice(image * self.n, (image + 1) * self.n)

    def _add(self, pair: PairCells, moments: Moments) -> None:
        """Add the equations of a pair."""
        gram = self.change.T @ moments.gram[: self.n, : self.n] @ self.change
        right = self.change.T @ moments.right[: self.n]
        i, j = self._block(pair.first), self._block(pair.second)
        self.matrix[i, i] += gram
        self.matrix[j, j] += gram
        self.matrix[i, j] -= gram
        self.matrix[j, i] -= gram
        self.target[i] += right
        self.target[j] -= right

    def _decomposed(self) -> tuple[Floats, Floats, int]:
        """Return eigenvalues and eigenvectors of the free part, and how many must be positive.

        Images are scaled so that each has the same weight on the diagonal: what one cell less or
        more of coverage does to the sums says nothing about whether they determine the terms.
        """
        self.index = (np.array(self.free, np.int64)[:, None] * self.n + np.arange(self.n)).ravel()
        blocks = [self._block(i) for i in range(self.n_images)]
        sizes = np.array([np.trace(self.matrix[b, b]) / self.n for b in blocks])
        scale = 1 / np.sqrt(np.where(sizes > 0, sizes, 1.0))
        self.scale = np.repeat(scale, self.n)[self.index]
        part = self.matrix[np.ix_(self.index, self.index)]
        values, vectors = np.linalg.eigh(part * np.outer(self.scale, self.scale))
        loose = {int(self.groups[i]) for i in self.free}
        loose -= {int(self.groups[i]) for i in self.fixed}
        return values, vectors, len(self.index) - self.n * len(loose)

    def is_determined(self, max_condition: float) -> bool:
        """Tell whether the cells determine all that a gauge does not choose."""
        if self.count <= 0:
            return self.count == 0
        if self.n_values < self.count:
            return False
        smallest, largest = self.values[len(self.values) - self.count], self.values[-1]
        return bool(smallest * max_condition**2 > largest)

    @property
    def inverse(self) -> Floats:
        """Pseudo-inverse of the system over all images; known ones have zeros."""
        first = len(self.values) - self.count
        part = self.vectors[:, first:] * self.scale[:, None]
        full = np.zeros_like(self.matrix)
        full[np.ix_(self.index, self.index)] = (part / self.values[first:]) @ part.T
        return full

    def factors(self) -> Floats:
        """Return the factors in the orthonormal terms, shape ``(n_images, n)``, in some gauge."""
        known = np.zeros((self.n_images, self.n))
        constant = np.linalg.solve(self.change, np.eye(self.n)[:, 0])
        for image, value in self.fixed.items():
            known[image] = value * constant
        right = self.target - self.matrix @ known.ravel()
        return known + (self.inverse @ right).reshape(self.n_images, self.n)

    def residuals(self) -> tuple[Floats, ...]:
        """Return values less the solution for all pairs."""
        factors = self.factors()
        return tuple(
            pair.values - self._rows(pair) @ (factors[pair.first] - factors[pair.second])
            for pair in self.pairs
        )

    def prediction_losses(self, folds: Folds) -> Floats:
        """Return the errors of prediction of all cells, each left out of all pairs in turn.

        Parameters
        ----------
        folds : Folds
            The parts in which cells are left out.

        Returns
        -------
        losses : ndarray of float64, shape (n_cells,)
            Mean weighted squared error of each cell that any pair has; all infinite if a part of
            the cells cannot be done without.
        """
        sums, counts = np.zeros(len(folds.numbers)), np.zeros(len(folds.numbers))
        for left_out in range(folds.n):
            part = OverlapSystem(
                *(self.pairs, self.used, folds.without(left_out), self.n_images, self.order),
                *(self.groups, self.fixed, self.free),
            )
            if not part.is_determined(1e6):
                counts.fill(np.nan)
                break
            for pair, use, mine in zip(self.pairs, self.used, part.residuals(), strict=True):
                gone = use & (folds.numbers[pair.cells] == left_out)
                np.add.at(sums, pair.cells[gone], pair.weights[gone] * mine[gone] ** 2)
                np.add.at(counts, pair.cells[gone], 1.0)
        return np.where(np.isnan(counts), np.inf, sums / np.where(counts > 0, counts, 1.0))[
            folds.seen
        ]

    def solution(self, anchors: Mapping[int, int], scores: Floats) -> OverlapSolution:
        """Return the solution in the gauge that anchors choose."""
        transform = self._gauge(anchors)
        factors = (transform @ self.factors().ravel()).reshape(self.n_images, self.n)
        noise = transform @ self._noise(self.inverse) @ transform.T
        residuals = self.residuals()
        chi2 = sum(
            float(np.sum(pair.weights[use] * residual[use] ** 2))
            for pair, use, residual in zip(self.pairs, self.used, residuals, strict=True)
        )
        blocks = noise.reshape(self.n_images, self.n, self.n_images, self.n)
        diagonal = np.array([blocks[i, :, i] for i in range(self.n_images)])
        chosen = [anchors.get(group, -1) for group in range(int(self.groups.max()) + 1)]
        return OverlapSolution(
            terms=factors @ self.change.T,
            covariance=self.change @ diagonal @ self.change.T,
            components=self.groups,
            anchors=tuple(chosen),
            order=self.order,
            residuals=residuals,
            used=tuple(self.used),
            chi2=chi2,
            dof=sum(int(use.sum()) for use in self.used) - self.count,
            scores=scores,
        )

    def _gauge(self, anchors: Mapping[int, int]) -> Floats:
        """Return the matrix that takes the factors from any gauge to the one chosen.

        An anchor's factors, or their mean over a group, are taken off all images of the group.
        """
        transform = np.eye(self.n * self.n_images)
        held = {int(self.groups[image]) for image in self.fixed}
        for group in range(int(self.groups.max()) + 1):
            members = np.flatnonzero(self.groups == group)
            if group in held:
                continue
            off = [anchors[group]] if group in anchors else members.tolist()
            for member in members:
                for image in off:
                    block = transform[self._block(int(member)), self._block(image)]
                    block -= np.eye(self.n) / len(off)
        return transform

    def _noise(self, inverse: Floats) -> Floats:
        """Return the covariance of all factors.

        Pairs that share an image share its noise: the noise of each image is followed through the
        solution cell by cell, as if cells were independent of each other.
        """
        size = self.n * self.n_images
        n_cells = 1 + max(int(pair.cells.max()) for pair in self.pairs)
        spread = np.zeros((size, size))
        for image in range(self.n_images):
            touching = [
                (pair, use)
                for pair, use in zip(self.pairs, self.used, strict=True)
                if image in (pair.first, pair.second)
            ]
            if not touching:
                continue
            variance = self._cell_variance(image, touching, n_cells)
            pulls = np.zeros((n_cells, size))
            for pair, use in touching:
                rows = (self._rows(pair) * pair.weights[:, None])[use]
                sign = 1.0 if image == pair.second else -1.0
                for other, direction in ((pair.first, 1.0), (pair.second, -1.0)):
                    np.add.at(
                        pulls[:, self._block(other)], pair.cells[use], sign * direction * rows
                    )
            pulls *= np.sqrt(variance)[:, None]
            spread += pulls.T @ pulls
        return inverse @ spread @ inverse

    @staticmethod
    def _cell_variance(
        image: int, touching: Sequence[tuple[PairCells, NDArray[np.bool_]]], n_cells: int
    ) -> Floats:
        """Return the variance of the mean of an image in each cell, averaged over its pairs."""
        total, count = np.zeros(n_cells), np.zeros(n_cells)
        for pair, use in touching:
            share = pair.shares[int(image == pair.second)]
            np.add.at(total, pair.cells[use], share / pair.weights[use])
            np.add.at(count, pair.cells[use], 1)
        return np.divide(total, count, out=np.zeros(n_cells), where=count > 0)
