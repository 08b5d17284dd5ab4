"""Sources that show up beside stars when these are subtracted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.stars import FIRST_NEIGHBOUR, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.psf.stars import StarFit

    Floats = NDArray[np.float64]

_THRESHOLD = 5.0
_LEAST_LIGHT = 0.25  # of a source over the light of the star in its place
_NEAREST = 2.0  # [sigma] to the star or to another source


def with_found_neighbours(
    fit: StarFit, known: Neighbours, *, sigma: float, most: int
) -> Neighbours:
    """Return the neighbours of stars with those that the residuals show.

    Parameters
    ----------
    fit : StarFit
        Fit of the stars; neighbours beyond those known, found with another model, are forgotten.
    known : Neighbours
        The first neighbours of all stars.
    sigma : float
        Standard deviation of the Gaussian for which residuals are searched [pixel].
    most : int
        Largest number of neighbours of a star.

    Notes
    -----
    A new source is a maximum of the significance of a Gaussian in the residual, five standard
    deviations or more, as bright as a quarter of the star in its place: what a model misses of
    the core of a bright star is none.
    """
    stars = fit.stars
    n, h, w = stars.stamps.shape
    height, significance = _searched(fit, _with_forgotten(fit, known), sigma)
    inner = significance[:, 1:-1, 1:-1]
    is_top = inner > _THRESHOLD
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                is_top &= inner >= significance[:, 1 + dy : h - 1 + dy, 1 + dx : w - 1 + dx]
    star = fit.flux[:, None, None] * np.abs(fit.columns[:, 0, 1:-1, 1:-1])
    is_top &= height[:, 1:-1, 1:-1] > _LEAST_LIGHT * star
    of, row, column = np.nonzero(is_top)
    y, x = row + 1.0 - h // 2, column + 1.0 - w // 2
    strength = inner[of, row, column]
    slots = np.bincount(known.star, minlength=n)
    added: list[tuple[int, int, float, float]] = []
    for number in np.argsort(-strength, kind="stable"):
        mine, at = int(of[number]), (float(y[number]), float(x[number]))
        taken = [(stars.y[mine], stars.x[mine])]
        taken += [(b, a) for who, _, b, a in added if who == mine]
        own = known.star == mine
        taken += list(zip(known.y[own], known.x[own], strict=True))
        apart = min(np.hypot(at[0] - b, at[1] - a) for b, a in taken)
        if slots[mine] < most and apart >= _NEAREST * sigma:
            added.append((mine, int(slots[mine]), *at))
            slots[mine] += 1
    return _joined(known, added)


def _with_forgotten(fit: StarFit, known: Neighbours) -> Floats:
    """Return the residuals with the light of neighbours that are not known."""
    residual = fit.residual.copy()
    count = np.bincount(known.star, minlength=len(residual))
    for slot in range(fit.stars.neighbours.most):
        column = FIRST_NEIGHBOUR + slot
        mine = count <= slot
        factor = fit.factors[mine, column, None, None]
        residual[mine] += factor * fit.columns[mine, column] * (fit.weight[mine] > 0.0)
    return residual


def _searched(fit: StarFit, residual: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the height of the Gaussian that fits around every pixel, and its significance."""
    _, h, w = residual.shape
    kernels = [
        np.exp(-0.5 * (np.subtract.outer(np.arange(size), np.arange(size)) / sigma) ** 2)
        for size in (h, w)
    ]
    seen = np.matmul(kernels[0], np.matmul(residual * fit.weight, kernels[1]))
    power = np.matmul(kernels[0] ** 2, np.matmul(fit.weight, kernels[1] ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.where(power > 0.0, seen / power, 0.0)
        significance = np.where(power > 0.0, seen / np.sqrt(power), 0.0)
    return height, significance


def _joined(known: Neighbours, added: list[tuple[int, int, float, float]]) -> Neighbours:
    """Return neighbours in the order of their stars."""
    if not added:
        return known
    star, slot, y, x = (np.array(values) for values in zip(*added, strict=True))
    joined = [
        np.concatenate(both)
        for both in (
            (known.star, star.astype(np.intp)),
            (known.slot, slot.astype(np.intp)),
            (known.y, y),
            (known.x, x),
        )
    ]
    order = np.lexsort((joined[1], joined[0]))
    return Neighbours(*(values[order] for values in joined))
