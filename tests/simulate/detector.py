"""What a detector does to an image: saturation with bleeding, cosmic rays, bad columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bled(
    image: NDArray[np.float64], full_well: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Let charge above the full well run along its column, half of it to each side.

    Returns
    -------
    image : ndarray of float64
        Nothing above ``full_well``; charge is lost at the ends of columns only.
    saturated : ndarray of bool
        Pixels that are full.
    """
    image = image.copy()
    for x in np.flatnonzero((image > full_well).any(axis=0)):
        column = image[:, x]
        for start, end in _runs(column > full_well):
            excess = float(np.sum(column[start:end] - full_well))
            column[start:end] = full_well
            _pour(column[end:], excess / 2, full_well)
            _pour(column[start - 1 :: -1] if start else column[:0], excess / 2, full_well)
    return image, image >= full_well


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _pour(column: NDArray[np.float64], charge: float, full_well: float) -> None:
    """Fill pixels from the first one on until the charge is used up, in place."""
    for y in range(column.size):
        if charge <= 0:
            return
        taken = min(max(full_well - column[y], 0.0), charge)
        column[y] += taken
        charge -= taken


def cosmic_rays(shape: tuple[int, int], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Charge that straight tracks of random length and direction leave [electron]."""
    charge = np.zeros(shape)
    for _ in range(n):
        y, x = rng.random(2) * shape
        angle, length = 2 * np.pi * rng.random(), 2 + 14 * rng.random() ** 2
        per_step = 1500 * (1 + 4 * rng.random())
        steps = np.arange(0.0, length, 0.5)
        rows = np.floor(y + steps * np.sin(angle)).astype(int)
        columns = np.floor(x + steps * np.cos(angle)).astype(int)
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        np.add.at(charge, (rows[inside], columns[inside]), per_step / 2)
    return charge


def grown(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Flags, and those of the eight neighbours."""
    ny, nx = flags.shape
    padded = np.pad(flags, 1)
    around = [padded[dy : dy + ny, dx : dx + nx] for dy in range(3) for dx in range(3)]
    return np.logical_or.reduce(around)


def sky_pattern(shape: tuple[int, int], detector: int) -> NDArray[np.float64]:
    """Response of a detector to the night sky minus one, about 1 % and of mean zero.

    A glowing edge, a ring and a slow wave, other ones for each detector.
    """
    ny, nx = shape
    v = (2 * np.arange(ny)[:, None] + 1) / ny - 1
    u = (2 * np.arange(nx)[None, :] + 1) / nx - 1
    side = 1 if detector % 2 else -1
    glow = 0.03 * np.exp(-(1 + side * u) / 0.15) * (1 + 0.4 * v)
    r = np.hypot(v - 0.2 * side, u + 0.1 * detector)
    ring = 0.012 * np.exp(-(((r - 0.7) / 0.12) ** 2))
    wave = 0.008 * np.sin(2.5 * v + 1.7 * detector) * np.cos(2.0 * u - 0.6 * detector)
    pattern = glow + ring + wave
    return pattern - pattern.mean()
