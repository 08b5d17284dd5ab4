"""Variance of an image: from planes of variance, weight or error, or estimated, never in silence."""

from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytool.core.noise.estimate import counting_variance, sky_noise, with_source_noise
from skytool.errors import IncompatibleError, SkytoolWarning
from skytool.io.units import is_per_second

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.core.noise.estimate import NoiseMap
    from skytool.io.layouts.recipe import VariancePlan
    from skytool.io.options import ReadOptions
    from skytool.models.mask import Mask

_log = logging.getLogger(__name__)

GAIN_KEYS = ("GAIN", "EGAIN", "CCDGAIN", "GAINEFF", "GAINA", "ARAWGAIN")
READ_NOISE_KEYS = ("RDNOISE", "READNOIS", "READNOI", "RON", "ENOISE", "RDNOISEA")

_NOT_SKY = ("BAD", "SAT", "CR", "EDGE", "NO_DATA", "DETECTED", "DETECTED_NEGATIVE", "STREAK")
_COMPARED = 0.2  # difference of noise and weights that is worth a warning
_RELATIVE_KINDS = frozenset({"EXP", "EXPTIME"})
_INVERSE_KINDS = frozenset({"IVM", "ERR"})
# A prediction holds if it lies between the noise of neighbours and that of distant pixels, with
# these margins. Crowded fields scatter more than their noise where the sky is in the image.
_FAINTEST = 1.15
_FAINTEST_ON_SKY = 2.5
_BRIGHTEST = 1.33
_SKY_IS_THERE = 3.0  # sigma


class _Detector(NamedTuple):
    """What is known of the electronics, in units of the image."""

    gain: float | None
    read_noise: float | None
    source: str


def variance_of(
    plan: VariancePlan,
    planes: Sequence[NDArray[np.float32]],
    image: NDArray[np.float32],
    mask: Mask,
    *,
    header: fits.Header,
    unit: str,
    options: ReadOptions,
    name: str,
) -> NDArray[np.float32]:
    """Return the variance of an image.

    Parameters
    ----------
    plan : VariancePlan
        Where it comes from.
    planes : sequence of ndarray of float32, shape (ny, nx)
        Planes of the plan.
    image : ndarray of float32, shape (ny, nx)
        Pixel values [unit]; NaN where there is none.
    mask : Mask
        Its planes; flagged pixels are not used for measuring noise.
    header : `~astropy.io.fits.Header`
        Cards of the image and the primary.
    unit : str
        Unit of the image.
    options : ReadOptions
        What the user said.
    name : str
        What messages call the image.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Variance [unit squared]; infinite, zero, negative or NaN where there is no value.

    Raises
    ------
    IncompatibleError
        If weights cannot be inverse variances, or nothing tells the noise.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if plan.kind == "variance":
            return planes[0] if len(planes) == 1 else np.sum(planes, axis=0, dtype=np.float32)
        if plan.kind == "error":
            return np.where(planes[0] > 0, planes[0] * planes[0], np.float32(np.inf))
        if plan.kind == "weight":
            return _from_weights(plan, planes[0], image, mask, options=options, name=name)
    if plan.kind == "constant":
        _log.info("%s: constant variance, %s", name, plan.source)
        return np.full(image.shape, plan.value, np.float32)
    bad = mask.any_of(_NOT_SKY)
    return _estimated(image, bad, header=header, unit=unit, options=options, name=name)


def _from_weights(
    plan: VariancePlan,
    weight: NDArray[np.float32],
    image: NDArray[np.float32],
    mask: Mask,
    *,
    options: ReadOptions,
    name: str,
) -> NDArray[np.float32]:
    """Return the variance that weights stand for."""
    if plan.dithered:
        weight = _without_dither(weight)
    usable = (weight > 0) & (weight < np.inf)
    scale = 1.0
    kind = options.weight_is
    if kind == "exptime":
        scale = _noise_over_weight(image, weight, mask) ** 2
        if not scale > 0:
            raise IncompatibleError(f"{name}: its noise, which scales the weights, is unknown.")
        _log.info("%s: variance = %.6g / weight, from the scatter of the sky", name, scale)
    elif kind is None and plan.checked:
        _check_weights(plan.source, image, weight, mask, name=name)
    elif kind is None and plan.compared:
        ratio = _noise_over_weight(image, weight, mask)
        if abs(ratio - 1.0) > _COMPARED:
            warnings.warn(
                f"{name}: the scatter of the sky is {ratio:.2f} times what its weights say; "
                "they may be relative, or the noise correlated.",
                SkytoolWarning,
                stacklevel=2,
            )
    return np.where(usable, np.float32(scale) / weight, np.float32(np.inf))


def _check_weights(
    kind: str,
    image: NDArray[np.float32],
    weight: NDArray[np.float32],
    mask: Mask,
    *,
    name: str,
) -> None:
    """Refuse drizzled weights that are no inverse variances, by their header or by the noise."""
    hint = "Give --weight-is exptime, --weight-is inverse-variance, or --variance FILE."
    if kind in _RELATIVE_KINDS:
        raise IncompatibleError(
            f"{name}: its weights are exposure times ({kind}), not inverse variances.", hint=hint
        )
    if kind in _INVERSE_KINDS:
        return
    ratio = _noise_over_weight(image, weight, mask)
    # correlated noise is smaller pixel by pixel, but never that much; without pixels it is NaN
    if ratio <= 0.3 or ratio >= 2.0:
        raise IncompatibleError(
            f"{name}: the scatter of the sky is {ratio:.3g} times what its weights say, "
            "which cannot be inverse variances.",
            hint=hint,
            ratio=ratio,
        )
    _log.info("%s: weights taken for inverse variances, which the noise bears out", name)


def _noise_over_weight(
    image: NDArray[np.float32], weight: NDArray[np.float32], mask: Mask
) -> float:
    """Return the measured noise in units of what inverse-variance weights predict."""
    good = (weight > 0) & (weight < np.inf) & np.isfinite(image) & ~mask.any_of(_NOT_SKY)
    if not good.any():
        return math.nan
    # without the sky level, a change of the weights from pixel to pixel is no noise
    level = np.median(image[good])
    return sky_noise((image - level) * np.sqrt(np.where(good, weight, 0)), ~good).typical_rms


def _without_dither(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights with those set to zero that lossy compression has scattered about zero.

    Quantisation with dithering moves a value by at most half a step either way: a weight that is
    smaller than the largest negative one is not told from zero. The limit never exceeds a tenth
    of the median, so that the cores of bright stars, whose weights are small, stay.
    """
    lowest = float(np.fmin.reduce(weight, axis=None))
    if not lowest < 0:
        return weight
    limit = min(-lowest, 0.1 * float(np.median(weight[weight > 0])))
    return np.where(weight > limit, weight, np.float32(0.0))


def _estimated(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    *,
    header: fits.Header,
    unit: str,
    options: ReadOptions,
    name: str,
) -> NDArray[np.float32]:
    """Return the variance from gain and read noise where they hold, else from the scatter."""
    noise = sky_noise(image, bad)
    detector = _detector(header, unit, options)
    if not (np.isfinite(noise.rms) & (noise.rms > 0)).any():
        return _predicted(image, bad, detector, header=header, options=options, name=name)
    level = noise.level_image()
    gain = math.inf if detector.gain is None else detector.gain
    refused = ""
    if not options.noise_from_sky and detector.gain and detector.read_noise is not None:
        removed = options.number("sky", header) or 0.0
        sky = counting_variance(level + removed, gain=gain, read_noise=detector.read_noise)
        predicted = float(np.sqrt(np.median(sky)))
        what = f"gain {gain:g} and read noise {detector.read_noise:g} ({detector.source})"
        fits_noise = _bears_out(predicted, noise, image, bad)
        if fits_noise or options.gain is not None:
            _say(
                f"{name}: variance from {what}, {predicted:.4g} rms in the sky, where it scatters "
                f"by {noise.typical_rms:.4g}",
                doubtful=not fits_noise,
            )
            return with_source_noise(sky, image, level, gain=gain)
        refused = f", not from {what}, which give {predicted:.4g}"
    added = "" if math.isinf(gain) else f", and gain {gain:g} ({detector.source}) on sources"
    _say(
        f"{name}: variance from the scatter of the sky, {noise.typical_rms:.4g} rms{added}{refused}",
        doubtful=not options.noise_from_sky,
    )
    return with_source_noise(noise.rms_image() ** 2, image, level, gain=gain)


def _say(text: str, *, doubtful: bool) -> None:
    """Log where a variance comes from, or warn where nobody asked for that source of it."""
    if doubtful:
        warnings.warn(f"{text}.", SkytoolWarning, stacklevel=4)
    else:
        _log.info("%s", text)


def _predicted(
    image: NDArray[np.float32],
    bad: NDArray[np.bool_],
    detector: _Detector,
    *,
    header: fits.Header,
    options: ReadOptions,
    name: str,
) -> NDArray[np.float32]:
    """Return the variance by the gain that is asked for where no scatter can be measured."""
    usable = np.isfinite(image) & ~bad
    if options.gain is None or not detector.gain or detector.read_noise is None or not usable.any():
        return np.full(image.shape, np.inf, np.float32)
    _log.info(
        "%s: variance from gain %g and read noise %g (%s)",
        *(name, detector.gain, detector.read_noise, detector.source),
    )
    level = np.full(image.shape, np.median(image[usable]), np.float64)
    removed = options.number("sky", header) or 0.0
    sky = counting_variance(level + removed, gain=detector.gain, read_noise=detector.read_noise)
    return with_source_noise(sky, image, level, gain=detector.gain)


def _bears_out(
    predicted: float, noise: NoiseMap, image: NDArray[np.float32], bad: NDArray[np.bool_]
) -> bool:
    """Return True if the noise that gain and read noise predict can be that of the image."""
    near = sky_noise(image, bad, lag=1).typical_rms
    sky_is_there = noise.typical_level > _SKY_IS_THERE * noise.typical_rms
    faintest = _FAINTEST_ON_SKY if sky_is_there else _FAINTEST
    return near / faintest <= predicted <= _BRIGHTEST * noise.typical_rms


def _detector(header: fits.Header, unit: str, options: ReadOptions) -> _Detector:
    """Return gain [electron per unit] and read noise [electron], of the user or of the header."""
    exposure_time = header.get("EXPTIME")
    seconds = 1.0
    if is_per_second(unit) and isinstance(exposure_time, (int, float)) and exposure_time > 0:
        seconds = float(exposure_time)
    gain, read_noise = options.number("gain", header), options.number("read_noise", header)
    keys = []
    if gain is None and unit.startswith("electron"):
        gain = seconds
        keys.append(f"unit {unit}")
    elif gain is None and (not unit or unit.startswith("adu")):
        key, value = _positive(header, GAIN_KEYS)
        gain = None if value is None else value * seconds
        keys += [key] if key else []
    if read_noise is None:
        key, read_noise = _positive(header, READ_NOISE_KEYS)
        keys += [key] if key else []
    return _Detector(gain, read_noise, " and ".join(keys) or "as given")


def _positive(header: fits.Header, keys: Sequence[str]) -> tuple[str, float | None]:
    """Return the first of several cards that holds a number above zero."""
    for key in keys:
        value = header.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return key, float(value)
    return "", None
