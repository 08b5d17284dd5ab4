"""From pixel values to shades: limits, stretches, and blocks of pixels as one."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.noise.estimate import sky_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLES = 20_000
_CONTRAST = 0.25
_KEPT = 2.5  # standard deviations about the line
_FEWEST = 5
_LOWEST, _HIGHEST = 0.005, 0.998  # quantiles that are black and white
_FLAT = 1e-6
_FINEST = 0.02  # step of the marks of a colour bar [fraction of its range]


class Stretch(StrEnum):
    """How shades follow values."""

    ASINH = "asinh"
    LINEAR = "linear"
    SQRT = "sqrt"
    LOG = "log"


class Scale(NamedTuple):
    """Values of black and white, and how shades go between them.

    Parameters
    ----------
    low, high : float
        Values of black and white [unit of the image].
    stretch : Stretch
        The curve.
    softening : float
        Where the asinh goes from linear to logarithmic [unit of the image, above ``low``].
    """

    low: float
    high: float
    stretch: Stretch
    softening: float

    def shades(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return shades from 0 (black) to 1 (white) of values, NaN of NaN."""
        span = self.high - self.low
        part = np.clip((values.astype(np.float64) - self.low) / span, 0.0, 1.0)
        match self.stretch:
            case Stretch.LINEAR:
                return part
            case Stretch.SQRT:
                return np.sqrt(part)
            case Stretch.LOG:
                return np.log1p(1000.0 * part) / math.log1p(1000.0)
            case Stretch.ASINH:
                knee = self.softening / span
                return np.arcsinh(part / knee) / math.asinh(1.0 / knee)


def zscale(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return limits about the median that show the sky, whatever the sources.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Finite values; those of the whole image or of a sample.

    Returns
    -------
    low, high : float
        The limits, within the range of the values.

    Notes
    -----
    The algorithm of the IRAF task ``display``: a straight line is fitted to the sorted values, with
    rejection of what is far from it; the limits are where the line, made steeper by the contrast
    of 0.25, would be at both ends. If more than half of the values are rejected, they are all
    taken.
    """
    ordered = np.sort(values.astype(np.float64))
    low, high = float(ordered[0]), float(ordered[-1])
    middle = float(np.median(ordered))
    place = np.arange(ordered.size, dtype=np.float64) - (ordered.size - 1) / 2
    kept = np.ones(ordered.size, dtype=bool)
    slope = 0.0
    for _ in range(5):
        slope, offset = _line(place[kept], ordered[kept])
        distance = ordered - (offset + slope * place)
        spread = float(np.std(distance[kept]))
        inside = np.abs(distance) <= _KEPT * spread
        if inside.sum() < max(_FEWEST, ordered.size // 2) or np.array_equal(inside, kept):
            break
        kept = inside
    if kept.sum() < max(_FEWEST, ordered.size // 2) or slope <= 0.0:
        return low, high
    reach = slope / _CONTRAST * (ordered.size - 1) / 2
    return max(low, middle - reach), min(high, middle + reach)


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and value at zero of the line through points."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    square = float(np.sum((x - mean_x) ** 2))
    slope = float(np.sum((x - mean_x) * (y - mean_y))) / square if square else 0.0
    return slope, mean_y - slope * mean_x


def scale_of(
    image: NDArray[np.floating],
    bad: NDArray[np.bool_],
    *,
    stretch: Stretch,
    limits: str | tuple[float, float] = "auto",
) -> Scale:
    """Return the scale in which an image is best seen.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixel values; those that are not finite do not count.
    bad : ndarray of bool, shape (ny, nx)
        True where a value says nothing of the sky.
    stretch : Stretch
        The curve.
    limits : str or (float, float)
        Values of black and white; ``zscale``; ``minmax``; or ``auto``: as zscale, but black at the
        0.5th percentile if that is brighter, and white at the 99.8th if that is brighter and the
        curve is not linear.

    Returns
    -------
    Scale
        With ``high`` above ``low``, whatever the values.
    """
    good = np.isfinite(image) & ~bad
    values = image[good]
    if not values.size:
        values = image[np.isfinite(image)]
    if not values.size:
        values = np.zeros(1, np.float32)
    if isinstance(limits, tuple):
        low, high = limits
    elif limits == "minmax":
        low, high = float(values.min()), float(values.max())
    else:
        low, high = zscale(values[:: max(1, values.size // _SAMPLES)])
        if limits == "auto":
            darkest, brightest = map(float, np.quantile(values, [_LOWEST, _HIGHEST]))
            low = max(low, darkest)
            high = high if stretch is Stretch.LINEAR else max(high, brightest)
    if not high - low > _FLAT * max(abs(low), abs(high), 1e-30):
        half = max(abs(low), 1.0) * 0.01
        low, high = low - half, high + half
    noise = sky_noise(image, ~good).typical_rms
    span = high - low
    softening = 3.0 * noise if math.isfinite(noise) and noise > 0 else 0.1 * span
    return Scale(low, high, stretch, min(max(softening, 1e-4 * span), span))


def block_means(image: NDArray[np.floating], factor: int) -> NDArray[np.float32]:
    """Return the means of square blocks of pixels, those at the end smaller.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Pixel values; those that are not finite are left out.
    factor : int
        Side of a block.

    Returns
    -------
    ndarray of float32, shape (ceil(ny / factor), ceil(nx / factor))
        NaN where a block has no value.
    """
    if factor == 1:
        return np.where(np.isfinite(image), image, np.float32(np.nan)).astype(np.float32)
    finite = np.isfinite(image)
    total = _block_sums(np.where(finite, image, 0.0).astype(np.float64), factor)
    count = _block_sums(finite.astype(np.float64), factor)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count, dtype=np.float32)


def block_any(flags: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Return which blocks have a True pixel, of the shape of `block_means`."""
    if factor == 1:
        return flags
    return _block_sums(flags.astype(np.float64), factor) > 0.0


def _block_sums(values: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    ny, nx = values.shape
    rows = np.add.reduceat(values, np.arange(0, ny, factor), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, nx, factor), axis=1))


def tick_values(scale: Scale, *, separation: float) -> list[float]:
    """Return round values for the marks of a colour bar.

    Parameters
    ----------
    scale : Scale
        What the bar shows.
    separation : float
        Smallest distance of two marks [fraction of the bar].

    Returns
    -------
    list of float
        Multiples of round steps, and between them, where the scale is stretched, numbers of one
        digit.
    """
    span = scale.high - scale.low
    top = math.floor(math.log10(max(abs(scale.low), abs(scale.high), span)))
    chosen: list[tuple[float, float]] = []
    for step in (digit * 10.0**power for power in range(top, top - 8, -1) for digit in (5, 2, 1)):
        for value in _multiples(scale, step, all_of_them=step >= _FINEST * span):
            place = float(scale.shades(np.array([value]))[0])
            if all(abs(place - other) >= separation for other, _ in chosen):
                chosen.append((place, float(f"{value:.10g}")))
    return sorted(value for _, value in chosen)


def _multiples(scale: Scale, step: float, *, all_of_them: bool) -> list[float]:
    """Return the multiples of a step between the limits, or only zero and the step itself."""
    if not all_of_them:
        return [value for value in (0.0, step, -step) if scale.low <= value <= scale.high]
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return [number * step for number in range(first, last + 1)]
