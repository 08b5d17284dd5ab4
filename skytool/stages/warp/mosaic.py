"""The image of a visit, filled detector by detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.core.mapped import forget

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from skytool.stages.warp.config import Overlap

    Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]

_FILLED = 1 << 20  # pixels filled before they are done with


@dataclass(frozen=True, eq=False)
class Strip:
    """Some rows and columns of the target, with the warped pixels of one detector.

    Parameters
    ----------
    y, x : int
        Place of the first pixel in the target.
    image, variance : ndarray of float32, shape (ny, nx)
        Warped pixels [unit of the visit, and its square].
    mask : ndarray of int32, shape (ny, nx)
        Planes, in the bits of the visit.
    good : ndarray of bool, shape (ny, nx)
        True where the pixel has a value.
    fraction : ndarray of float32, shape (ny, nx), or None
        Part of each pixel that comes from unusable pixels of the detector.
    noise : ndarray of float32, shape (n, ny, nx), or None
        Warped realisations of the noise.
    """

    y: int
    x: int
    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.int32]
    good: NDArray[np.bool_]
    fraction: NDArray[np.float32] | None = None
    noise: NDArray[np.float32] | None = None

    def clipped(self, border: int, shape: tuple[int, int]) -> Strip:
        """Return the part inside the target, of a strip on the target grown by a border.

        Parameters
        ----------
        border : int
            Pixels by which the target was grown on every side.
        shape : tuple of int
            Shape ``(ny, nx)`` of the target.
        """
        y, x = self.y - border, self.x - border
        ny, nx = self.image.shape
        rows = slice(max(0, -y), max(0, min(ny, shape[0] - y)))
        columns = slice(max(0, -x), max(0, min(nx, shape[1] - x)))
        return Strip(
            y=y + rows.start,
            x=x + columns.start,
            image=self.image[rows, columns],
            variance=self.variance[rows, columns],
            mask=self.mask[rows, columns],
            good=self.good[rows, columns],
            fraction=None if self.fraction is None else self.fraction[rows, columns],
            noise=None if self.noise is None else self.noise[:, rows, columns],
        )


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Planes of one visit on the target grid, changed in place by `add`.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        NaN and +inf where no detector has a value.
    mask : ndarray of int32, shape (ny, nx)
        NO_DATA where no detector has a value.
    n_image : ndarray of int16, shape (ny, nx)
        Detectors that have a good value at each pixel.
    fraction : ndarray of float32, shape (ny, nx), or None
        Part of each pixel that comes from unusable pixels.
    noise : ndarray of float32, shape (n, ny, nx)
        Realisations of the noise; NaN where no detector has a value.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.int32]
    n_image: NDArray[np.int16]
    fraction: NDArray[np.float32] | None
    noise: NDArray[np.float32]

    @classmethod
    def empty(
        cls,
        shape: tuple[int, int],
        *,
        no_data: np.int32,
        with_fraction: bool,
        n_noise: int = 0,
        allocate: Allocate,
    ) -> Self:
        """Return a mosaic without a single value; ``no_data`` is the NO_DATA bit value."""

        def plane(value: float, dtype: DTypeLike, *more: int) -> NDArray[Any]:
            return _filled(allocate((*more, *shape), dtype), value)

        return cls(
            image=plane(np.nan, np.float32),
            variance=plane(np.inf, np.float32),
            mask=plane(int(no_data), np.int32),
            n_image=plane(0, np.int16),
            fraction=plane(1.0, np.float32) if with_fraction else None,
            noise=plane(np.nan, np.float32, n_noise),
        )

    def add(self, strip: Strip, *, bad: np.int32, overlap: Overlap) -> int:
        """Merge one strip of a detector and return how many of its pixels were good.

        Parameters
        ----------
        strip : Strip
            Pixels of the detector; strips of one detector must not overlap each other.
        bad : int32
            Bits of the planes that make a warped pixel unusable.
        overlap : {"last", "first", "best-variance", "mean"}
            Rule where an earlier detector has a value. ``mean`` is the plain mean, with the
            variance of one and the planes of all.

        Returns
        -------
        int
            Pixels of the strip that are good, whether the rule took them or not.
        """
        ny, nx = strip.image.shape
        at = np.s_[strip.y : strip.y + ny, strip.x : strip.x + nx]
        good = strip.good & ((strip.mask & bad) == 0)
        count = self.n_image[at]
        if overlap == "mean":
            self._average(strip, at, good & (count > 0))
            take = good & (count == 0)
        elif overlap == "first":
            take = good & (count == 0)
        elif overlap == "best-variance":
            take = good & ((count == 0) | (strip.variance < self.variance[at]))
        else:
            take = good
        np.copyto(self.image[at], strip.image, where=take)
        np.copyto(self.variance[at], strip.variance, where=take)
        np.copyto(self.mask[at], strip.mask, where=take)
        if self.fraction is not None and strip.fraction is not None:
            np.copyto(self.fraction[at], strip.fraction, where=take)
        if strip.noise is not None:
            for plane, new in zip(self.noise, strip.noise, strict=True):
                np.copyto(plane[at], new, where=take)
        count += good
        for plane in (
            self.image,
            self.variance,
            self.mask,
            self.n_image,
            self.fraction,
            *self.noise,
        ):
            if plane is not None:
                forget(plane[strip.y : strip.y + ny])
        return int(np.count_nonzero(good))

    def _average(self, strip: Strip, at: tuple[slice, slice], both: NDArray[np.bool_]) -> None:
        """Take a further detector into the running mean of the pixels ``both``."""
        if not both.any():
            return
        n = self.n_image[at][both].astype(np.float32)
        pairs = [(self.image, strip.image), (self.fraction, strip.fraction)]
        if strip.noise is not None:
            pairs += zip(self.noise, strip.noise, strict=True)
        for plane, new in pairs:
            if plane is not None and new is not None:
                plane[at][both] = (plane[at][both] * n + new[both]) / (n + 1)
        variance = self.variance[at]
        variance[both] = (variance[both] * n**2 + strip.variance[both]) / (n + 1) ** 2
        self.mask[at][both] |= strip.mask[both]


def _filled(array: NDArray[Any], value: float) -> NDArray[Any]:
    """Fill a plane, which may lie on disk, and return it."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _FILLED):
        piece = flat[start : start + _FILLED]
        piece[:] = value
        forget(piece)
    return array
