"""Resampling by areas: exact overlap of pixels, and the adaptive method of reproject.

Both average over all of a target pixel, so that large ones lose nothing, and both blur.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from skytool.core.resampling.kernels import resampling_kernel
from skytool.core.resampling.overlap_loops import overlap_rows
from skytool.core.resampling.pixel_map import Window
from skytool.core.resampling.planes import TargetPlanes, source_planes, target_planes
from skytool.core.resampling.resample import Positions, Resampled
from skytool.core.resampling.resample_loops import finish_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Plane = NDArray[Any]

AREA_KERNELS = ("exact", "adaptive")
"""Methods of this module, beside the kernels of `skytool.core.resampling.kernels`."""

_BACK = 0.5  # [pixel] from the centre of a pixel to its edges


class AreaResampler(ABC):
    """An image ready to be resampled by areas, part by part.

    Parameters
    ----------
    image, variance, mask, pixel_map, no_data, grow, conserve_flux, bad, extras
        As for `skytool.core.resampling.resample.Resampler`.
    """

    _block: tuple[int, int]

    def __init__(
        self,
        image: Plane,
        variance: Plane | None,
        mask: NDArray[np.int32] | None,
        pixel_map: Positions,
        *,
        no_data: int,
        grow: int = 0,
        conserve_flux: bool = True,
        bad: NDArray[np.bool_] | None = None,
        extras: Sequence[Plane] = (),
    ) -> None:
        self._source = source_planes(
            image, extras, variance, mask, bad, resampling_kernel("nearest")
        )
        self._pixel_map = pixel_map
        self._no_data = no_data
        self._grow = grow
        self._conserve_flux = conserve_flux

    def part(self, window: Window | None = None) -> Resampled:
        """Return a part of the target; all of it by default."""
        source, shape = self._source, self._pixel_map.shape
        whole = Window(0, shape[0], 0, shape[1])
        window = whole if window is None else window.intersection(whole)
        target = target_planes(source, window.shape)
        target.clear(slice(None), self._no_data)
        n_good, area_sum = 0, 0.0
        for block in self._blocks(window):
            rows = target.rows(block.y_start - window.y_start, block.y_stop - window.y_start)
            first = block.x_start - window.x_start
            rows.mask[:, first : first + block.shape[1]] = 0
            areas = self._fill(rows, block, first)
            good, area = finish_rows(
                areas, self._no_data, first, rows.image, rows.variance, rows.mask, rows.bad
            )
            n_good += good
            area_sum += area
        target.extras[:, np.isnan(target.image)] = np.nan
        return Resampled(
            window=window,
            image=target.image,
            mask=target.mask,
            variance=target.variance if source.variance.size else None,
            bad_fraction=target.bad if source.bad.size else None,
            extras=target.extras,
            n_good=n_good,
            mean_area=area_sum / n_good if n_good else float("nan"),
        )

    def _blocks(self, window: Window) -> list[Window]:
        """Cut the part of a window that sees the source, at places that depend on the target only."""
        height, width = self._block
        seen = self._pixel_map.window.intersection(window)
        blocks = []
        for y in range(seen.y_start - seen.y_start % height, seen.y_stop, height):
            y_start, y_stop = max(y, seen.y_start), min(y + height, seen.y_stop)
            columns = self._pixel_map.columns(y_start, y_stop)
            for x in range(columns[0] - columns[0] % width, columns[1], width):
                box = Window(y_start, y_stop, max(x, columns[0]), min(x + width, columns[1]))
                blocks.append(box.intersection(seen))
        return [block for block in blocks if 0 not in block.shape]

    @abstractmethod
    def _fill(self, rows: TargetPlanes, block: Window, first: int) -> NDArray[np.float64]:
        """Fill a block of the planes, from the column `first` on; return the source areas."""


class OverlapResampler(AreaResampler):
    """Resampling by the exact overlap of every target pixel with the source pixels.

    Parameters are those of `AreaResampler`; `grow` changes nothing, as all bits come from all
    pixels that overlap.

    Notes
    -----
    With the area ``a_i`` that target and source pixel share [source pixel], the value is
    ``sum(a_i I_i)``, the variance ``sum(a_i^2 V_i)``; to keep surface brightness, divided by
    ``sum(a_i)`` and its square. The edges of a target pixel are straight lines between the
    positions of its corners. A pixel is good if all of it is on the source. No sum of pixels
    gains or loses flux, whatever the sub-pixel positions.
    """

    _block = (32, 1 << 20)

    def _fill(self, rows: TargetPlanes, block: Window, first: int) -> NDArray[np.float64]:
        source = self._source
        y = np.arange(block.y_start - _BACK, block.y_stop)
        x = np.arange(block.x_start - _BACK, block.x_stop)
        u, v = self._pixel_map.positions(y, x)
        areas = np.zeros(block.shape)
        nothing = source.variance[:0], source.mask[:0], source.bad[:0]
        for pixels, extra in zip(source.pixels[1:], rows.extras, strict=True):
            overlap_rows(
                pixels, *nothing, u, v, self._conserve_flux, first, areas, extra, *rows[2:]
            )
        overlap_rows(
            source.pixels[0],
            source.variance,
            source.mask,
            source.bad,
            u,
            v,
            self._conserve_flux,
            first,
            areas,
            rows.image,
            *rows[2:],
        )
        return areas


def area_resampler(kernel: str, *planes: Any, **options: Any) -> AreaResampler:
    """Return the resampler of one of `AREA_KERNELS`; arguments are those of `AreaResampler`.

    Raises
    ------
    ValueError
        If there is no such kernel.
    """
    if kernel == "exact":
        return OverlapResampler(*planes, **options)
    if kernel == "adaptive":
        from skytool.core.resampling.adaptive import AdaptiveResampler

        return AdaptiveResampler(*planes, **options)
    msg = f"{kernel!r} is none of {', '.join(AREA_KERNELS)}"
    raise ValueError(msg)
