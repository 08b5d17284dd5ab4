"""The sources that a matching kernel is fitted to: found or listed, and selected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from skytool.core.mask_spread import spread_mask
from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM
from skytool.core.matching.kernel_stamps import cut_kernel_stamps
from skytool.core.noise.estimate import sky_noise
from skytool.core.psf.peaks import Peaks, find_peaks
from skytool.core.psf.star_selection import Surroundings, thinned
from skytool.core.psf.star_stamps import cut_stamps
from skytool.errors import AlgorithmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.kernel_stamps import KernelStamps
    from skytool.stages.diffim.config import StarsConfig
    from skytool.stages.diffim.inputs import Pair, PreparedImage

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Scalar = TypeVar("Scalar", bound=np.generic)

RULES = (
    *("listed flag", "faint", "bright", "edge", "masked middle", "masked pixels", "neighbour"),
    "surplus",
)
"""Why a source is not used, in the order in which this is asked."""

_WIDE = 4.0  # [pixel] from which on stars are sought in pixels of twice the size
_SKY_HALF = 15  # half side of the surroundings that tell the sky under a source [pixel]
_MIDDLE = 1  # half side of the part in the middle that has no masked pixel, at least [pixel]


@dataclass(frozen=True, eq=False)
class SourceList:
    """Sources that a user lists; arrays of shape ``(n,)``.

    Parameters
    ----------
    y, x : ndarray of float64
        Positions [pixel].
    snr : ndarray of float64
        Ratios of signal to noise; NaN if they are not known.
    flagged : ndarray of bool
        Those that the list itself calls unfit.
    name : str
        What messages call the list.
    """

    y: Floats
    x: Floats
    snr: Floats
    flagged: Flags
    name: str


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sources with what speaks against them; arrays of shape ``(n,)``, the brightest first.

    Parameters
    ----------
    y, x : ndarray of float64
        Positions [pixel].
    snr : ndarray of float64
        Ratios of signal to noise.
    reason : ndarray of str
        Why a source is not used; empty if it may be.
    """

    y: Floats
    x: Floats
    snr: Floats
    reason: NDArray[np.str_]

    @property
    def pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns that they are in."""
        row, column = (np.floor(at + 0.5).astype(np.intp) for at in (self.y, self.x))
        return row, column

    @property
    def selected(self) -> Flags:
        """Which of them may be used."""
        return np.asarray(self.reason == "")

    def counts(self) -> dict[str, int]:
        """Return how many sources each rule left out."""
        return {rule: n for rule in RULES if (n := int(np.count_nonzero(self.reason == rule)))}

    def leave_out(self, rule: str, which: Flags) -> None:
        """Note a reason against sources that have none yet."""
        self.reason[which & self.selected] = rule


def find_candidates(
    image: PreparedImage, bad: Flags, fwhm: float, config: StarsConfig
) -> Candidates:
    """Find the sources of an image.

    Parameters
    ----------
    image : PreparedImage
        Science image.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that are not searched.
    fwhm : float
        Width of a star [pixel].
    config : StarsConfig
        Settings.
    """
    plane, flags, step = image.image, bad, 1
    if fwhm >= _WIDE:  # stars are sampled well enough by pixels of twice the size
        plane, flags, step = _halved(plane, np.add), _halved(bad, np.logical_or), 2
    # the image may have its sky, of which every ripple would count as a source
    plane = plane - sky_noise(plane, flags).level_image().astype(np.float32)
    sigma = fwhm / SIGMA_TO_FWHM / step
    peaks = find_peaks(plane, flags, sigma=sigma, threshold=config.min_snr)
    y, x = (step * at + 0.5 * (step - 1) for at in (peaks.y, peaks.x))
    return _sorted(y, x, peaks.significance, np.zeros(len(peaks), np.bool_))


def _halved(plane: NDArray[Scalar], combine: np.ufunc) -> NDArray[Scalar]:
    """Return a plane of half the size, from pixels combined two by two; odd rests are left out."""
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    rows = combine(even[::2], even[1::2])
    return np.asarray(combine(rows[:, ::2], rows[:, 1::2]))


def listed_candidates(sources: SourceList, image: PreparedImage) -> Candidates:
    """Return the sources of a list that lie on the image.

    Parameters
    ----------
    sources : SourceList
        The list.
    image : PreparedImage
        Science image, which tells the brightness where the list does not.

    Raises
    ------
    AlgorithmError
        If none does.
    """
    ny, nx = image.image.shape
    y, x = sources.y, sources.x
    on = (
        np.isfinite(y)
        & np.isfinite(x)
        & (y >= -0.5)
        & (y < ny - 0.5)
        & (x >= -0.5)
        & (x < nx - 0.5)
    )
    if not on.any():
        raise AlgorithmError(
            f"none of the {y.size} sources of {sources.name} lies on the science image.",
            hint="Check whether its positions are pixels of this image.",
        )
    y, x, snr = y[on], x[on], sources.snr[on]
    unknown = ~np.isfinite(snr)
    if unknown.any():
        row, column = (np.floor(at + 0.5).astype(np.intp) for at in (y, x))
        around = cut_stamps(image.image, row, column, _SKY_HALF, fill=np.nan).reshape(y.size, -1)
        height = image.image[row, column] - np.nanmedian(around, axis=1)
        snr = np.where(unknown, height / np.sqrt(image.variance[row, column]), snr)
    return _sorted(y, x, snr, sources.flagged[on])


def _sorted(y: Floats, x: Floats, snr: Floats, flagged: Flags) -> Candidates:
    order = np.lexsort((x, y, -snr))
    reason = np.where(flagged[order], RULES[0], "").astype("U20")
    return Candidates(y[order], x[order], snr[order], reason)


def select(
    candidates: Candidates,
    pair: Pair,
    *,
    fwhm: float,
    kernel_size: int,
    half: int,
    config: StarsConfig,
) -> Flags:
    """Note what speaks against candidates.

    Parameters
    ----------
    candidates : Candidates
        Sources; reasons are filled in.
    pair : Pair
        The images.
    fwhm : float
        Width of a star [pixel].
    kernel_size : int
        Side of the kernel [pixel].
    half : int
        Half side of the part of stamps that is compared [pixel].
    config : StarsConfig
        Settings.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        Pixels that are not compared: bad ones, and those that the kernel carries bad ones to.
    """
    shape = pair.science.image.shape
    candidates.leave_out("faint", ~(candidates.snr >= config.min_snr))
    candidates.leave_out("bright", ~(candidates.snr <= config.max_snr))
    border = half + (kernel_size // 2 if config.edge else 0)
    inside = np.ones(candidates.y.size, np.bool_)
    row, column = candidates.pixels
    for at, size in zip((row, column), shape, strict=True):
        inside &= (at >= border) & (at < size - border)
    candidates.leave_out("edge", ~inside)
    support = np.ones((kernel_size, kernel_size), np.bool_)
    margin = pair.margin
    carried = spread_mask(pair.template_bad, support)
    if margin:
        carried = carried[margin:-margin, margin:-margin]
    bad = pair.science_bad | carried
    core = max(_MIDDLE, round(config.good_core * fwhm))
    own = pair.science_bad | pair.template_bad[_inner(margin)]
    middle = cut_stamps(own, row, column, min(core, half), fill=True)
    candidates.leave_out("masked middle", np.asarray(middle.any(axis=(1, 2))))
    some = np.flatnonzero(candidates.selected)
    masked = cut_stamps(bad, row[some], column[some], half, fill=True)
    spoiled = np.zeros(candidates.y.size, np.bool_)
    spoiled[some] = 1.0 - masked.mean(axis=(1, 2)) < config.min_good
    candidates.leave_out("masked pixels", spoiled)
    if config.isolated is not None:
        _leave_out_crowded(candidates, fwhm, half, config.isolated)
    _leave_out_surplus(candidates, (shape[0], shape[1]), config)
    return bad


def _inner(margin: int) -> tuple[slice, slice]:
    part = slice(margin, -margin or None)
    return part, part


def _leave_out_crowded(candidates: Candidates, fwhm: float, half: int, limit: float) -> None:
    """Leave out sources with a bright neighbour in the stamp."""
    around = Surroundings(Peaks(candidates.y, candidates.x, candidates.snr), fwhm)
    crowded = np.zeros(candidates.y.size, np.bool_)
    for number in np.flatnonzero(candidates.selected).tolist():
        crowded[number] = around.brightest(number, half) > limit
    candidates.leave_out("neighbour", crowded)


def _leave_out_surplus(candidates: Candidates, shape: tuple[int, int], config: StarsConfig) -> None:
    """Leave out sources beyond the largest number."""
    some = np.flatnonzero(candidates.selected)
    if config.most < 1 or some.size <= config.most:
        return
    kept = np.arange(some.size) < config.most
    if config.spread:
        y, x, snr = candidates.y[some], candidates.x[some], candidates.snr[some]
        kept = thinned(y, x, snr, shape=shape, most=config.most)
    surplus = np.zeros(candidates.y.size, np.bool_)
    surplus[some[~kept]] = True
    candidates.leave_out("surplus", surplus)


def stamps_of(
    candidates: Candidates,
    bad: Flags,
    source: PreparedImage,
    target: PreparedImage,
    *,
    kernel_size: int,
    half: int,
    config: StarsConfig,
) -> KernelStamps:
    """Return the stamps of the candidates that may be used.

    Parameters
    ----------
    candidates : Candidates
        Sources.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that are not compared.
    source, target : PreparedImage
        Image that is convolved, perhaps with a margin, and the one that it is compared with.
    kernel_size, half : int
        Side of the kernel, and half side of the compared part [pixel].
    config : StarsConfig
        Settings.

    Raises
    ------
    AlgorithmError
        If there are too few.
    """
    selected = candidates.selected
    count = int(np.count_nonzero(selected))
    if count < config.least:
        counts = ", ".join(f"{n} {rule}" for rule, n in candidates.counts().items()) or "none"
        raise AlgorithmError(
            f"{count} of {selected.size} sources are fit for the kernel, {config.least} are "
            f"required; left out: {counts}.",
            hint="Lower --detection-threshold or --min-kernel-sources, or list sources with "
            "--catalog.",
        )
    return cut_kernel_stamps(
        source.image,
        target.image,
        source_variance=source.variance,
        target_variance=target.variance,
        bad=bad,
        y=candidates.y[selected],
        x=candidates.x[selected],
        kernel_size=kernel_size,
        half=half,
    )
