"""The point spread function of an exposure, measured on its stars."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.matching.kernel_basis import SIGMA_TO_FWHM
from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.core.psf.fit import MOST_NEIGHBOURS, PsfFitRule, fit_psf
from skytool.core.psf.neighbours import with_found_neighbours
from skytool.core.psf.stars import fit_stars
from skytool.core.stamps import half_maximum_fwhm
from skytool.errors import AlgorithmError, SkytoolWarning
from skytool.models.psf.kinds import BasisPsf, Psf
from skytool.models.psf.places import finely_sampled, middle_star, stars_across
from skytool.stages.psf.candidates import find_sources, select_stars
from skytool.stages.psf.planes import Planes
from skytool.stages.psf.quality import DrawnPsf, PsfQuality, star_table
from skytool.stages.psf.stars import selected_stars, stamp_half_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from skytool.core.psf.stars import StarModel, Stars
    from skytool.models.exposure import Exposure
    from skytool.models.psf.stars import PsfStars
    from skytool.stages.psf.candidates import Candidates
    from skytool.stages.psf.config import PsfConfig

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_FEWEST_TO_RESERVE = 20  # stars of which some can be spared
_WELL_SAMPLED = 3.0  # [pixel] FWHM from which one sample per pixel is enough
_JUDGED_ITERATIONS = 3
_FINE = 3  # samples per pixel for the width and shape of the PSF: it may be narrow


@dataclass(frozen=True, eq=False)
class PsfMeasurement:
    """A point spread function with the stars that tell of it.

    Parameters
    ----------
    psf : Psf
        The function.
    stars : PsfStars
        Stars it was fitted to, stars it is judged by, and stars that do not agree.
    quality : PsfQuality
        How it describes the stars that were kept apart; if there are none, those it was fitted to.
    n_sources : int
        Sources found in the exposure.
    left_out : mapping of str to int
        How many of them each rule left out.
    saturation : float or None
        Value at which stars pile up, from which pixels were taken for saturated.
    order : int
        Highest total degree of the variation over the image; of a given PSF 0.
    """

    psf: Psf
    stars: PsfStars
    quality: PsfQuality
    n_sources: int
    left_out: Mapping[str, int]
    saturation: float | None
    order: int

    def across(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return widths at half maximum [pixel] and ellipticities at places all over an image."""
        stars = [star for row in stars_across(self.psf, shape) for star in row if star is not None]
        widths, ellipticities = [], []
        for star in stars:
            fine = finely_sampled(self.psf, y=star.y, x=star.x, samples=_FINE)
            try:
                widths.append(half_maximum_fwhm(fine) / _FINE)
                ellipticities.append(adaptive_moments(fine).ellipticity)
            except ValueError as error:
                raise AlgorithmError(
                    f"the PSF at (x, y) = ({star.x:.0f}, {star.y:.0f}) is no star: {error}."
                ) from error
        return np.array(widths), np.array(ellipticities)


def measure_psf(exposure: Exposure, config: PsfConfig) -> PsfMeasurement:
    """Measure the point spread function of an exposure.

    Parameters
    ----------
    exposure : Exposure
        With its variance; a smooth sky may be left in it.
    config : PsfConfig
        Settings.

    Raises
    ------
    AlgorithmError
        If there are too few stars, or their fit fails.

    Notes
    -----
    Sources are found in the smoothed image; those that are bright enough, whole, alone, and of the
    size and shape of the others around them are stars. Their common profile is a Moffat function
    whose moments are polynomials of the position, plus rings and harmonics, as many as predict
    stars best that they were not fitted to.
    """
    found = _Found.of(exposure, config)
    stars = found.stars(config, exposure.name)
    reserved = _reserved(found.candidates.snr[found.candidates.selected], config.reserve_fraction)
    rule = PsfFitRule(
        order=config.spatial_order,
        max_order=config.max_spatial_order,
        accuracy=config.accuracy,
    )
    _check_order(config.spatial_order, int(np.count_nonzero(~reserved)), exposure.name)
    samples = config.oversampling or _oversampling(found.candidates.fwhm)
    try:
        fit = fit_psf(stars.of(~reserved), found.candidates.form, rule, oversampling=samples)
    except np.linalg.LinAlgError as error:
        raise AlgorithmError(
            f"{exposure.name}: the fit of the PSF to {len(stars)} stars fails: {error}."
        ) from error
    used = np.zeros(len(stars), np.bool_)
    used[~reserved] = fit.kept
    if used.sum() < config.min_stars:
        warnings.warn(
            f"{exposure.name}: only {used.sum()} of {np.count_nonzero(~reserved)} stars agree, the "
            "PSF rests on them.",
            SkytoolWarning,
            stacklevel=2,
        )
    psf: Psf = BasisPsf(
        fit.samples.basis,
        fit.samples.coefficients,
        fit.samples.shape,
        oversampling=(samples, samples),
    )
    model: StarModel = fit.samples
    order = fit.field.order
    if config.method == "grid":
        from skytool.stages.psf.grid import grid_psf

        psf = grid_psf(fit, config, oversampling=samples, name=exposure.name)
        model, order = DrawnPsf(psf), 0
    table = _judged(stars, model, found, config, used=used, reserved=reserved)
    return found.measurement(psf, table, order)


def _check_order(order: int | None, n_stars: int, name: str) -> None:
    """Refuse a degree that has more terms than there are stars.

    Raises
    ------
    AlgorithmError
        If so.
    """
    n_terms = 0 if order is None else (order + 1) * (order + 2) // 2
    if n_terms > n_stars:
        raise AlgorithmError(
            f"{name}: a variation of degree {order} has {n_terms} terms, and there are {n_stars} "
            "stars.",
            hint="Lower --spatial-order, or leave it out.",
        )


def judge_psf(exposure: Exposure, psf: Psf, config: PsfConfig) -> PsfMeasurement:
    """Compare a given point spread function with the stars of an exposure.

    Parameters
    ----------
    exposure : Exposure
        With its variance.
    psf : Psf
        The function.
    config : PsfConfig
        Settings of the choice of stars.

    Returns
    -------
    PsfMeasurement
        With the given function; all stars are kept apart, and there may be none.
    """
    middle = middle_star(psf, exposure.shape)
    width = psf.adaptive_fwhm(y=middle.y, x=middle.x)
    found = _Found.of(exposure, config, otherwise=width / SIGMA_TO_FWHM)
    stars = selected_stars(found.candidates, found.planes, found.half)
    table = _judged(
        stars,
        DrawnPsf(psf),
        found,
        config,
        used=np.zeros(len(stars), np.bool_),
        reserved=np.ones(len(stars), np.bool_),
    )
    return found.measurement(psf, table, 0)


@dataclass(frozen=True, eq=False)
class _Found:
    """The sources of an exposure."""

    planes: Planes
    candidates: Candidates
    half: int
    saturation: float | None

    @classmethod
    def of(cls, exposure: Exposure, config: PsfConfig, *, otherwise: float | None = None) -> _Found:
        """Find the sources and select stars; ``otherwise`` is the radius if no source has one.

        Raises
        ------
        AlgorithmError
            If no source has a size, and there is no other.
        """
        planes = Planes.of(exposure, config.bad_planes)
        peaks, sigma = find_sources(planes)
        sigma = sigma or otherwise
        if sigma is None:
            raise AlgorithmError(
                f"{exposure.name}: no star to measure a PSF with: {len(peaks)} sources, none of "
                "them compact.",
                hint="Give the PSF with --psf-from.",
            )
        planes, saturation = planes.without_pile(exposure.image, peaks)
        half = stamp_half_size(SIGMA_TO_FWHM * sigma, config)
        candidates = select_stars(planes, peaks, sigma, half, config)
        return cls(planes, candidates, half, saturation)

    def stars(self, config: PsfConfig, name: str) -> Stars:
        """Return the stars.

        Raises
        ------
        AlgorithmError
            If there are too few.
        """
        n_stars = int(np.count_nonzero(self.candidates.selected))
        if n_stars < config.min_stars:
            reasons = ", ".join(
                f"{count} {rule}" for rule, count in self.candidates.counts().items()
            )
            raise AlgorithmError(
                f"{name}: {n_stars} of {len(self.candidates.peaks)} sources are stars to measure a "
                f"PSF with, {config.min_stars} are needed ({reasons}).",
                hint="Lower --min-snr, raise --max-neighbor, or give the PSF with --psf-from.",
            )
        return selected_stars(self.candidates, self.planes, self.half)

    def measurement(self, psf: Psf, table: PsfStars, order: int) -> PsfMeasurement:
        """Return the result."""
        judges = table.reserved if table.reserved.any() else table.used
        return PsfMeasurement(
            psf=psf,
            stars=table,
            quality=PsfQuality.of(table[judges]),
            n_sources=len(self.candidates.peaks),
            left_out=self.candidates.counts(),
            saturation=self.saturation,
            order=order,
        )


def _judged(
    stars: Stars,
    model: StarModel,
    found: _Found,
    config: PsfConfig,
    *,
    used: Flags,
    reserved: Flags,
) -> PsfStars:
    """Return stars beside a model."""
    fit = fit_stars(stars, model, accuracy=config.accuracy, iterations=_JUDGED_ITERATIONS)
    sigma = found.candidates.fwhm / SIGMA_TO_FWHM
    around = with_found_neighbours(fit, stars.neighbours, sigma=sigma, most=MOST_NEIGHBOURS)
    stars = replace(fit.stars, neighbours=around)
    fit = fit_stars(stars, model, accuracy=config.accuracy, iterations=1)
    return star_table(fit, radius=sigma, used=used, reserved=reserved)


def _reserved(snr: NDArray[np.float64], part: float) -> Flags:
    """Tell which stars to keep apart: every so many in the order of brightness."""
    reserved = np.zeros(snr.size, np.bool_)
    if snr.size >= _FEWEST_TO_RESERVE:
        turn = np.empty(snr.size, np.intp)
        turn[np.argsort(-snr, kind="stable")] = np.arange(snr.size)
        reserved = np.floor((turn + 1) * part + 0.5) > np.floor(turn * part + 0.5)
    return reserved


def _oversampling(fwhm: float) -> int:
    """Return the samples per pixel that stars of a width need."""
    return max(math.ceil(_WELL_SAMPLED / fwhm), 1)
