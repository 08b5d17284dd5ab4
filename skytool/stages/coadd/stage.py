"""Warps of several visits added to one image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.stacks.coadd import CoaddBits, CoaddPlanes, Tally, coadd
from skytool.errors import NothingToDoError, SkytoolWarning
from skytool.models.exposure import Exposure
from skytool.models.keywords import common_cards
from skytool.models.mask import Mask
from skytool.stages.coadd.inputs import common_unit, visit_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.models.exposure import Origin
    from skytool.models.psf.coadd import CoaddPsf
    from skytool.stages.coadd.config import CoaddConfig
    from skytool.stages.coadd.inputs import CoaddInput, CoaddUnit

    Rows = Callable[[int, int, int], Exposure]

_BYTES_PER_PIXEL = 3 * 4 + 4  # of an input: image, variance, mask, and four flags
_AROUND = 2  # rows beside a strip that decide on outliers in it
_FEWEST_ROWS = 8
_MOST_CLIPPED = 0.3  # of the pixels of an input; of few noisy values the preset clips 0.1 or less


@dataclass(frozen=True)
class InputReport:
    """What became of an input.

    Parameters
    ----------
    name : str
        Its name.
    weight : float
        Its weight [1 / unit of the coadd squared]; zero if no pixel of it could be used.
    scale : float
        Factor from its unit to that of the coadd.
    used, clipped : int
        Pixels that entered the coadd, and that were clipped.
    """

    name: str
    weight: float
    scale: float
    used: int
    clipped: int


@dataclass(frozen=True, eq=False)
class CoaddResult:
    """A coadd.

    Parameters
    ----------
    exposure : Exposure
        The coadd, with the cards that all inputs have in common.
    n_image : ndarray of int16, shape (ny, nx)
        Inputs that entered each pixel.
    inputs : tuple of InputReport
        One for each input, in order.
    """

    exposure: Exposure
    n_image: NDArray[np.int16]
    inputs: tuple[InputReport, ...]

    @property
    def coverage(self) -> float:
        """Share of the pixels with a value."""
        return float(np.count_nonzero(self.n_image) / self.n_image.size)


def coadd_warps(
    inputs: Sequence[CoaddInput],
    rows: Rows,
    *,
    shape: tuple[int, int],
    wcs: WCS | None,
    origin: Origin,
    config: CoaddConfig,
    name: str = "coadd",
) -> CoaddResult:
    """Combine warps on one grid pixel by pixel.

    Parameters
    ----------
    inputs : sequence of CoaddInput
        What is known of the warps.
    rows : function
        ``rows(index, start, stop)`` returns some rows of an input, of which image, mask and
        variance count; each is asked for once, but for those at the limits of strips.
    shape : tuple of int
        Shape ``(ny, nx)`` of all.
    wcs : `~astropy.wcs.WCS` or None
        Celestial coordinates of all.
    origin : Origin
        Place of the first pixel.
    config : CoaddConfig
        Settings.
    name : str
        What messages call the coadd.

    Raises
    ------
    IncompatibleError
        If units do not fit together, or a mask plane is unknown.
    NothingToDoError
        If no input has a usable pixel.
    """
    unit = common_unit(inputs, config)
    weights = visit_weights(inputs, unit.scales, config)
    used = np.flatnonzero(weights > 0.0)
    if not used.size:
        raise NothingToDoError("no input has a usable pixel.")
    planes = Mask.empty((1, 1))
    for entry in inputs:
        planes = planes.with_planes(entry.bits)
    total = CoaddPlanes.empty(shape)
    tally = Tally.zero(len(used))
    stack = _Stack(inputs, rows, unit, used, planes)
    for start, stop in _strips(shape, len(used), config.strip_bytes):
        first, last = max(start - _AROUND, 0), min(stop + _AROUND, shape[0])
        images, variances, masks = stack.read(first, last, shape[1])
        coadd(
            images,
            variances,
            masks,
            weights=None if config.weight == "pixel" else weights[used],
            bits=_bits(planes, config),
            out=total.rows(start, stop),
            tally=tally,
            rows=slice(start - first, stop - first),
            statistic=config.statistic,
            clipping=config.clipping,
            propagate_from=config.propagate_from,
        )
    if not total.count.any():
        raise NothingToDoError("no pixel of any input is usable.")
    exposure = Exposure(
        image=total.image,
        mask=Mask(total.mask, planes.bits),
        variance=total.variance,
        wcs=wcs,
        unit=unit.name,
        calibration=unit.calibration,
        psf=_psf([inputs[k] for k in used.tolist()], weights[used], shape),
        header=common_cards(entry.header for entry in inputs),
        origin=origin,
        name=name,
    )
    reports = _reports(inputs, weights, unit, used, tally)
    _warn_of_clipped(reports)
    return CoaddResult(exposure, total.count, reports)


@dataclass(frozen=True, eq=False)
class _Stack:
    """Rows of all inputs that are used, in one unit and with the same mask bits."""

    inputs: Sequence[CoaddInput]
    rows: Rows
    unit: CoaddUnit
    used: NDArray[np.intp]
    planes: Mask

    def read(
        self, start: int, stop: int, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Return images, variances and masks, shape ``(n, stop - start, width)``."""
        shape = len(self.used), stop - start, width
        images, variances = np.empty(shape, np.float32), np.empty(shape, np.float32)
        masks = np.empty(shape, np.int32)
        for place, index in enumerate(self.used.tolist()):
            part = self.rows(index, start, stop)
            scale = np.float32(self.unit.scales[index])
            np.multiply(part.image, scale, out=images[place])
            np.multiply(part.variance, scale * scale, out=variances[place])
            masks[place] = part.mask.renumbered(self.planes.bits).array
        return images, variances, masks


def _strips(shape: tuple[int, int], n: int, strip_bytes: int) -> list[tuple[int, int]]:
    """Return the first and last rows of the strips in which the work is done."""
    ny, nx = shape
    height = strip_bytes // (n * nx * _BYTES_PER_PIXEL) - 2 * _AROUND
    height = max(height, _FEWEST_ROWS)
    return [(start, min(start + height, ny)) for start in range(0, ny, height)]


def _bits(planes: Mask, config: CoaddConfig) -> CoaddBits:
    """Return what the mask bits of the inputs mean."""

    def bit(*names: str) -> int:
        return int(planes.bitmask(names))

    return CoaddBits(
        no_data=bit("NO_DATA"),
        bad=bit(*config.bad_planes),
        edge=bit("EDGE"),
        clipped=bit("CLIPPED"),
        rejected=bit("REJECTED"),
        sensor_edge=bit("SENSOR_EDGE"),
        inexact_psf=bit("INEXACT_PSF"),
        suspect=bit("SUSPECT"),
        propagated=tuple(value for name in config.propagate_planes if (value := bit(name))),
    )


def _psf(
    inputs: Sequence[CoaddInput], weights: NDArray[np.float64], shape: tuple[int, int]
) -> CoaddPsf | None:
    """Return the PSF of the coadd, if all inputs have one."""
    lacking = [entry.name for entry in inputs if entry.psf is None]
    if lacking:
        if len(lacking) < len(inputs):
            warnings.warn(
                f"the coadd gets no PSF: {', '.join(lacking)} has none.",
                SkytoolWarning,
                stacklevel=3,
            )
        return None
    from skytool.models.psf.coadd import merged_psf

    psfs = (entry.psf for entry in inputs if entry.psf is not None)
    return merged_psf(zip(psfs, weights.tolist(), strict=True), shape)


def _reports(
    inputs: Sequence[CoaddInput],
    weights: NDArray[np.float64],
    unit: CoaddUnit,
    used: NDArray[np.intp],
    tally: Tally,
) -> tuple[InputReport, ...]:
    """Return what became of every input."""
    pixels, clipped = np.zeros((2, len(inputs)), np.int64)
    pixels[used], clipped[used] = tally.used, tally.clipped
    return tuple(
        InputReport(entry.name, float(weight), scale, int(n_used), int(n_clipped))
        for entry, weight, scale, n_used, n_clipped in zip(
            inputs, weights, unit.scales, pixels, clipped, strict=True
        )
    )


def _warn_of_clipped(reports: Sequence[InputReport]) -> None:
    """Warn of inputs that are clipped in so many places that no source can be the reason."""
    for report in reports:
        share = report.clipped / max(report.used + report.clipped, 1)
        if share > _MOST_CLIPPED:
            warnings.warn(
                f"{report.name}: {share:.0%} of its pixels are clipped: its background or its flux "
                "scale is not that of the others; skytool match-bg brings backgrounds together.",
                SkytoolWarning,
                stacklevel=3,
            )
