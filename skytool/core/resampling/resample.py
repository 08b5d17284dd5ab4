"""Resampling of image, variance and mask onto another pixel grid."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skytool.core.resampling.kernels import ResamplingKernel, resampling_kernel
from skytool.core.resampling.pixel_map import Window
from skytool.core.resampling.planes import SourcePlanes, TargetPlanes, source_planes, target_planes
from skytool.core.resampling.resample_loops import (
    bad_rows,
    effective_variance_rows,
    filtered_rows,
    finish_rows,
    mask_rows,
    pixel_areas,
    poison_rows,
    weighted_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Plane = NDArray[Any]
    Image = NDArray[np.float64]

_STRIP = 32  # rows of the target at a time; two strips of positions fit the second cache
_FULL_FOOTPRINT = "none"


class Positions(Protocol):
    """What gives source positions: a `PixelMap` or anything else with its shape and methods."""

    shape: tuple[int, int]
    window: Window

    def positions(
        self, y: NDArray[np.float64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return source columns and rows of all pairs of target rows and columns."""
        ...

    def columns(self, y_start: int, y_stop: int) -> tuple[int, int]:
        """Return which columns may see the source in some rows."""
        ...


@dataclass(frozen=True, eq=False)
class Resampled:
    """Planes on the target grid.

    Parameters
    ----------
    window : Window
        Part of the target that the planes cover.
    image : ndarray of float32, shape (ny, nx)
        Pixel values; NaN where there is none.
    mask : ndarray of int32, shape (ny, nx)
        Mask bits; only the no-data bit where there is no value.
    variance : ndarray of float32, shape (ny, nx), or None
        Variance; +inf where there is no value, and where the input's is.
    bad_fraction : ndarray of float32, shape (ny, nx), or None
        Share of bad pixels, 0 to 1; NaN where there is no value.
    extras : ndarray, shape (n, ny, nx)
        Further images.
    n_good : int
        Number of pixels with a value.
    mean_area : float
        Mean source area of these pixels [source pixel]; NaN if there are none.
    """

    window: Window
    image: Plane
    mask: NDArray[np.int32]
    variance: NDArray[np.float32] | None
    bad_fraction: NDArray[np.float32] | None
    extras: Plane
    n_good: int
    mean_area: float


class Resampler:
    """An image ready to be resampled part by part, so that no part needs more memory than it has.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Pixel values; float64 stays so, everything else becomes float32. Fill bad pixels before:
        one that is not finite empties every target pixel whose footprint it is in.
    variance : ndarray of float32, shape (ny, nx), or None
        Variance of `image`. +inf, as for filled pixels, gives +inf in the footprint but keeps the
        value; NaN empties.
    mask : ndarray of int32, shape (ny, nx), or None
        Mask bits.
    pixel_map : PixelMap
        Source position of every target pixel.
    no_data : int
        Mask bit of pixels without a value.
    kernel : str
        Name of the kernel, see `resampling_kernel`.
    mask_kernel : str
        Kernel whose taps pass on mask bits, not larger than `kernel`; ``none`` for the whole
        footprint of `kernel`.
    grow : int
        Mask bits that are passed on by the whole footprint of `kernel`.
    conserve_flux : bool
        Multiply by the source area of every target pixel, so that sums are kept; otherwise the
        surface brightness is.
    centred_area : bool
        Take the area from the neighbours on both sides; otherwise from those on the left and
        below, as the LSST pipelines do, which is the area half a pixel off.
    oversample : int
        Average ``k x k`` positions in every target pixel: against lost information and aliases
        where target pixels are larger than source pixels.
    bad : ndarray of bool, shape (ny, nx), optional
        Pixels whose share in every target pixel is wanted, by bilinear interpolation.
    extras : sequence of ndarray, shape (ny, nx)
        Further images to resample like `image`, such as realisations of its noise. Their values
        do not decide which pixels are good.

    Raises
    ------
    ValueError
        If a kernel is unknown, the mask's is the larger one, or the planes differ in shape.

    Notes
    -----
    At a position with the weights ``w_i`` of unit sum and the area `A` of a target pixel in
    source pixels, the value is ``A sum(w_i I_i)``, the variance ``A^2 sum(w_i^2 V_i)``. `A` is the
    area of a parallelogram between neighbours. A pixel is good if all taps lie on the source; taps
    of zero weight contribute nothing, so that a shift by whole pixels is a copy. The variance
    describes single pixels; neighbours are correlated, see `predicted_noise`.
    """

    def __init__(
        self,
        image: Plane,
        variance: Plane | None,
        mask: NDArray[np.int32] | None,
        pixel_map: Positions,
        *,
        no_data: int,
        kernel: str = "lanczos3",
        mask_kernel: str = "bilinear",
        grow: int = 0,
        conserve_flux: bool = True,
        centred_area: bool = True,
        oversample: int = 1,
        bad: NDArray[np.bool_] | None = None,
        extras: Sequence[Plane] = (),
    ) -> None:
        if oversample < 1:
            msg = f"oversample {oversample} is less than 1"
            raise ValueError(msg)
        weights = resampling_kernel(kernel)
        self._rules = _Rules(
            kernel=weights,
            mask_half_size=_mask_half_size(mask_kernel, weights),
            grow=-1 if mask_kernel == _FULL_FOOTPRINT else grow,
            no_data=no_data,
            conserve_flux=conserve_flux,
            centred_area=centred_area,
            oversample=oversample,
        )
        self._source = source_planes(image, extras, variance, mask, bad, weights)
        self._pixel_map = pixel_map

    def part(self, window: Window | None = None) -> Resampled:
        """Return a part of the target; all of it by default."""
        source, shape = self._source, self._pixel_map.shape
        whole = Window(0, shape[0], 0, shape[1])
        window = whole if window is None else window.intersection(whole)
        target = target_planes(source, window.shape)
        n_good, area = _fill(source, self._pixel_map, self._rules, target, window)
        return Resampled(
            window=window,
            image=target.image,
            mask=target.mask,
            variance=target.variance if source.variance.size else None,
            bad_fraction=target.bad if source.bad.size else None,
            extras=target.extras,
            n_good=n_good,
            mean_area=area / n_good if n_good else float("nan"),
        )


def resample(
    image: Plane,
    variance: Plane | None,
    mask: NDArray[np.int32] | None,
    pixel_map: Positions,
    *,
    window: Window | None = None,
    **options: Any,
) -> Resampled:
    """Resample an image with its variance and mask at once.

    Parameters
    ----------
    image, variance, mask, pixel_map, **options
        As for `Resampler`.
    window : Window, optional
        Part of the target to make; all of it by default.

    Returns
    -------
    Resampled
        Planes of the window's shape.
    """
    return Resampler(image, variance, mask, pixel_map, **options).part(window)


@dataclass(frozen=True, eq=False)
class _Rules:
    """How to resample."""

    kernel: ResamplingKernel
    mask_half_size: int
    grow: int
    no_data: int
    conserve_flux: bool
    centred_area: bool
    oversample: int


def _mask_half_size(mask_kernel: str, kernel: ResamplingKernel) -> int:
    """Return how far the mask kernel reaches, 0 for the nearest pixel."""
    if mask_kernel == _FULL_FOOTPRINT:
        return 0
    half_size = resampling_kernel(mask_kernel).half_size
    if half_size > kernel.half_size:
        msg = f"mask kernel {mask_kernel!r} is larger than the image kernel {kernel.name!r}"
        raise ValueError(msg)
    return 0 if mask_kernel == "nearest" else half_size


def _fill(
    source: SourcePlanes, pixel_map: Positions, rules: _Rules, target: TargetPlanes, window: Window
) -> tuple[int, float]:
    """Resample strip by strip; return the number of good pixels and the sum of their areas."""
    seen = pixel_map.window.intersection(window)
    n_good, area_sum = 0, 0.0
    for y_start in range(window.y_start, window.y_stop, _STRIP):
        y_stop = min(y_start + _STRIP, window.y_stop)
        strip = target.rows(y_start - window.y_start, y_stop - window.y_start)
        x_start, x_stop = pixel_map.columns(y_start, y_stop)
        x_start, x_stop = max(x_start, window.x_start), min(x_stop, window.x_stop)
        if y_stop <= seen.y_start or y_start >= seen.y_stop or x_start >= x_stop:
            strip.clear(slice(None), rules.no_data)
            continue
        first, stop = x_start - window.x_start, x_stop - window.x_start
        strip.clear(slice(0, first), rules.no_data)
        strip.clear(slice(stop, None), rules.no_data)
        rows, columns = np.arange(y_start - 1.0, y_stop + 1), np.arange(x_start - 1.0, x_stop + 1)
        u, v = pixel_map.positions(rows, columns)
        areas = np.empty((rows.size - 2, columns.size - 2))
        pixel_areas(u, v, rules.centred_area, areas)
        u, v = u[1:-1, 1:-1], v[1:-1, 1:-1]
        if rules.oversample == 1:
            _fill_images(source, u, v, areas, rules, strip, first)
            _fill_flags(source, u, v, rules, strip, first)
        else:
            inner = rows[1:-1], columns[1:-1]
            _fill_averages(source, pixel_map, inner, areas, rules, strip, first)
        good, area = finish_rows(
            areas, rules.no_data, first, strip.image, strip.variance, strip.mask, strip.bad
        )
        for extra in strip.extras:
            extra[np.isnan(strip.image)] = np.nan
        n_good += good
        area_sum += area
    return n_good, area_sum


def _fill_images(
    source: SourcePlanes,
    u: Image,
    v: Image,
    areas: Image,
    rules: _Rules,
    strip: TargetPlanes,
    first: int,
) -> None:
    """Resample image, extras and variance where the footprint is on the source."""
    kernel, flux, half_size = rules.kernel, rules.conserve_flux, rules.kernel.half_size
    table, taps, variance = kernel.table, kernel.taps, source.variance
    outs = (strip.image, *strip.extras)
    for k, (pixels, samples, out) in enumerate(
        zip(source.pixels, source.samples, outs, strict=True)
    ):
        if kernel.prefilter:
            filtered_rows(samples, pixels, u, v, table, taps, half_size, areas, flux, first, out)
            continue
        weighted_rows(
            pixels,
            variance if k == 0 else variance[:0],
            u,
            v,
            table,
            taps,
            half_size,
            areas,
            flux,
            kernel.name == "nearest",
            first,
            out,
            strip.variance,
        )
    if kernel.prefilter and variance.size:
        table, taps, out = kernel.effective, kernel.effective_taps, strip.variance
        effective_variance_rows(variance, u, v, table, taps, half_size, areas, flux, first, out)


def _fill_flags(
    source: SourcePlanes, u: Image, v: Image, rules: _Rules, strip: TargetPlanes, first: int
) -> None:
    """Resample mask and bad fraction, and empty the image where a lost pixel is in the footprint."""
    kernel, half_size = rules.kernel, rules.kernel.half_size
    extent = (kernel.effective_taps[0], len(kernel.effective_taps))
    if source.poison.size:
        poison_rows(source.poison, source.poison_tiles, u, v, half_size, extent, first, strip.image)
    if source.mask.size:
        mask_rows(
            source.mask,
            source.tiles,
            u,
            v,
            half_size,
            rules.mask_half_size,
            extent,
            rules.grow,
            kernel.name == "nearest",
            first,
            strip.mask,
        )
    if source.bad.size:
        bad_rows(source.bad, u, v, half_size, first, strip.bad)


def _fill_averages(
    source: SourcePlanes,
    pixel_map: Positions,
    rows_columns: tuple[NDArray[np.float64], NDArray[np.float64]],
    areas: Image,
    rules: _Rules,
    strip: TargetPlanes,
    first: int,
) -> None:
    """Resample all planes with several positions in every pixel."""
    from skytool.core.resampling.oversample_loops import averaged_rows

    kernel, n, (rows, columns) = rules.kernel, rules.oversample, rows_columns
    positions = []
    offsets = (np.arange(n) + 0.5) / n - 0.5
    for y, x in itertools.product(offsets, offsets):
        positions.append(pixel_map.positions(rows + y, columns + x))
    us = np.stack([u_k for u_k, _ in positions], axis=-1)
    vs = np.stack([v_k for _, v_k in positions], axis=-1)
    images = zip(source.samples, (strip.image, *strip.extras), strict=True)
    tasks = [(plane, kernel.table, kernel.taps, False, out) for plane, out in images]
    if source.variance.size:
        effective = kernel.effective, kernel.effective_taps
        tasks.append((source.variance, *effective, True, strip.variance))
    for plane, table, taps, squared, out in tasks:
        averaged_rows(
            plane,
            us,
            vs,
            areas,
            table,
            taps,
            kernel.half_size,
            squared,
            rules.conserve_flux,
            kernel.name == "nearest",
            first,
            out,
        )
    strip.bad[:, first : first + columns.size] = 0.0
    bits, shares = strip.mask.copy(), np.zeros_like(strip.bad)
    for u_k, v_k in positions:
        _fill_flags(source, u_k, v_k, rules, strip, first)
        bits |= strip.mask
        shares += strip.bad / n**2
    strip.mask[...], strip.bad[...] = bits, shares
