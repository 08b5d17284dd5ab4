"""The two exposures of a difference, made ready: coverage, variances, masks, a common grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from skytool.core.noise.local_fill import fill_from_neighbors
from skytool.errors import IncompatibleError, NothingToDoError
from skytool.models.mask import Mask
from skytool.stages.diffim.variance_scale import scaled_variance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.stages.diffim.config import DiffimConfig

    Floats = NDArray[np.float32]
    Flags = NDArray[np.bool_]
    Scalar = TypeVar("Scalar", bound=np.generic)

_STRIP_SIZE = 1 << 18  # pixels of which flags are made together
_LEFT_OVER = ("DETECTED", "DETECTED_NEGATIVE")
TEMPLATE_SUFFIX = "_TEMPLATE"


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image with a margin on all sides, finite everywhere.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny + 2 margin, nx + 2 margin)
        Pixels; those without a value are filled from their surroundings.
    mask : ndarray of int32, same shape
        Bits to carry along, those of `Pair.bits`.
    empty : ndarray of bool, same shape
        Pixels that were filled.
    """

    image: Floats
    variance: Floats
    mask: NDArray[np.int32]
    empty: Flags

    def padded(self, margin: int, edge: np.int32) -> PreparedImage:
        """Return the image with a margin like its edge, flagged by a bit."""
        image, variance = (
            np.pad(plane, margin, mode="edge") for plane in (self.image, self.variance)
        )
        return PreparedImage(
            image,
            variance,
            np.pad(self.mask, margin, constant_values=edge),
            np.pad(self.empty, margin, constant_values=True),
        )

    def inner(self, margin: int) -> PreparedImage:
        """Return the image without a margin."""
        if margin == 0:
            return self
        part = np.s_[margin:-margin, margin:-margin]
        return PreparedImage(
            self.image[part], self.variance[part], self.mask[part], self.empty[part]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Science image and template on one grid.

    Parameters
    ----------
    science : PreparedImage
        Without margin.
    template : PreparedImage
        With a margin.
    margin : int
        Its width [pixel].
    bits : mapping of str to int
        Mask planes of both.
    bad : ndarray of bool, shape (ny, nx)
        Pixels of either image that no kernel is fitted to, before kernels spread anything.
    template_bad : ndarray of bool, shape (ny + 2 margin, nx + 2 margin)
        Those of the template.
    coverage : float
        Part of the science image that both have values for.
    science_factor, template_factor : float
        What the variances were multiplied with.
    """

    science: PreparedImage
    template: PreparedImage
    margin: int
    bits: dict[str, int]
    science_bad: Flags
    template_bad: Flags
    coverage: float
    science_factor: float
    template_factor: float

    def bitmask(self, *planes: str) -> np.int32:
        """Return the value of mask planes; one that neither image has is nothing."""
        return np.int32(sum(1 << self.bits[name] for name in planes if name in self.bits))


def prepare(
    science: Exposure,
    template: Exposure,
    shift: tuple[int, int],
    margin: int,
    config: DiffimConfig,
) -> Pair:
    """Bring two exposures to one grid and make them ready.

    Parameters
    ----------
    science, template : Exposure
        The exposures.
    shift : (int, int)
        Pixel ``(y, x)`` of the template that is the first one of the science image.
    margin : int
        Width of the margin around the template [pixel].
    config : DiffimConfig
        Settings.

    Raises
    ------
    IncompatibleError
        If an exposure has no variance.
    NothingToDoError
        If too little of the science image is covered.
    AlgorithmError
        If the variance of an exposure is of another order than its scatter.
    """
    science_mask, template_mask, kept = _masks(science, template, config)
    unusable = _empty(template)
    science_empty = _empty(science)
    y, x = shift
    window = (
        slice(y - margin, y + science.shape[0] + margin),
        slice(x - margin, x + science.shape[1] + margin),
    )
    template_empty = _cut(unusable, window, fill=True)
    inside = (slice(margin, -margin or None),) * 2
    coverage = 1.0 - float(np.mean(science_empty | template_empty[inside]))
    if coverage < config.required_fraction:
        raise NothingToDoError(
            f"{template.name} covers {coverage:.1%} of {science.name}, and "
            f"{config.required_fraction:.0%} are required.",
            hint="--required-template-fraction 0 makes the difference all the same.",
            coverage=coverage,
        )
    science_variance, science_factor = scaled_variance(science, config)
    template_variance, template_factor = scaled_variance(template, config)
    template_variance = _cut(template_variance, window, fill=np.nan)
    bits = science_mask.bits
    bad_bits = science_mask.bitmask(name for name in config.stars.bad_planes if name in bits)
    outside, no_data = science_mask.bitmask(["EDGE"]), science_mask.bitmask(["NO_DATA"])
    carried = _cut(kept.array, window, fill=outside)
    carried = _flagged(carried, _cut(unusable, window, fill=False), no_data)
    marked = _flagged(science_mask.array, science_empty, no_data)
    filled = _prepared(science, science.image, science_variance, marked, science_empty)
    image = _cut(template.image, window, fill=np.nan)
    template_bad = _cut(_any_of(template_mask, bad_bits), window, fill=False)
    template_bad |= template_empty
    return Pair(
        science=filled,
        template=_prepared(template, image, template_variance, carried, template_empty),
        margin=margin,
        bits=dict(bits),
        science_bad=_any_of(science_mask, bad_bits) | science_empty,
        template_bad=template_bad,
        coverage=coverage,
        science_factor=science_factor,
        template_factor=template_factor,
    )


def _empty(exposure: Exposure) -> Flags:
    """Return which pixels have no value.

    Raises
    ------
    IncompatibleError
        If no pixel has a variance.
    """
    no_data = exposure.mask.bitmask(["NO_DATA"])
    empty, some_known = np.empty(exposure.shape, np.bool_), False
    for rows in _strips(exposure.shape):
        variance = exposure.variance[rows]
        known = np.isfinite(variance) & (variance > 0.0)
        some_known = some_known or bool(known.any())
        known &= np.isfinite(exposure.image[rows])
        known &= (exposure.mask.array[rows] & no_data) == 0
        np.logical_not(known, out=empty[rows])
    if not some_known and np.isfinite(exposure.image).any():
        raise IncompatibleError(
            f"{exposure.name} has no variance.",
            hint="Give --variance, --weight, --error, --gain or --noise-from-sky.",
        )
    return empty


def _any_of(mask: Mask, bits: np.int32) -> Flags:
    """Return which pixels have any of some bits."""
    found = np.empty(mask.shape, np.bool_)
    for rows in _strips(mask.shape):
        np.not_equal(mask.array[rows] & bits, 0, out=found[rows])
    return found


def _flagged(mask: NDArray[np.int32], where: Flags, bit: np.int32) -> NDArray[np.int32]:
    """Return a mask with a bit where it is wanted."""
    if not bit or not where.any():
        return mask
    out = mask.copy()
    for rows in _strips(mask.shape):
        np.bitwise_or(out[rows], bit, out=out[rows], where=where[rows])
    return out


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Return slices of rows that together are few enough for the cache."""
    height = max(1, _STRIP_SIZE // shape[1])
    return (slice(start, start + height) for start in range(0, shape[0], height))


def _masks(science: Exposure, template: Exposure, config: DiffimConfig) -> tuple[Mask, Mask, Mask]:
    """Return masks of the two, and what of that of the template goes on, under common bits."""
    original = template.mask
    renamed = [(name, f"{name}{TEMPLATE_SUFFIX}") for name in config.rename_planes]
    copied = [*renamed, ("FAKE", "INJECTED_TEMPLATE")]
    wanted = [name for name in config.preserve_planes if name in original.bits]
    set_bits = np.int32(np.bitwise_or.reduce(original.array, axis=None))
    kept = Mask(original.array & original.bitmask(wanted), original.bits)
    for name, new in copied:
        if name in original.bits and set_bits & original.bitmask([name]):
            kept = kept.with_flagged(original.any_of([name]), new)
    own = science.mask
    cleared = own.bitmask(name for name in _LEFT_OVER if name in own.bits)
    if cleared and np.bitwise_or.reduce(own.array, axis=None) & cleared:
        own = Mask(own.array & ~cleared, own.bits)
    if "FAKE" in own.bits and np.any(own.any_of(["FAKE"])):
        own = own.with_flagged(own.any_of(["FAKE"]), "INJECTED")
    bits = own.with_planes(["NO_DATA", "EDGE", "SAT", "CR", *kept.bits]).bits
    own = Mask(own.array, bits)
    return own, original.renumbered(own.merged_bits(original)), kept.renumbered(bits)


def _cut(plane: NDArray[Scalar], window: tuple[slice, slice], *, fill: object) -> NDArray[Scalar]:
    """Return a window of a plane that may reach beyond it."""
    shape = tuple(part.stop - part.start for part in window)
    if all(
        part.start == 0 and part.stop == size
        for part, size in zip(window, plane.shape, strict=True)
    ):
        return plane
    out = np.full(shape, fill, plane.dtype)
    source, target = [], []
    for part, size in zip(window, plane.shape, strict=True):
        first, last = max(part.start, 0), min(part.stop, size)
        source.append(slice(first, max(last, first)))
        target.append(slice(first - part.start, max(last, first) - part.start))
    out[tuple(target)] = plane[tuple(source)]
    return out


def _prepared(
    given: Exposure, image: Floats, variance: Floats, mask: NDArray[np.int32], empty: Flags
) -> PreparedImage:
    """Return planes without holes; those of the exposure that was given stay as they are."""
    if empty.any():
        kept = (given.image, given.variance)
        image, variance = (
            np.asarray(
                fill_from_neighbors(
                    plane, empty, out=None if any(plane is own for own in kept) else plane
                ),
                np.float32,
            )
            for plane in (image, variance)
        )
    return PreparedImage(image, variance, mask, empty)
