"""What can be set for the detection and measurement of the sources of a difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from skytool.core.difference.dipole import DipoleRule

Filter = Literal["psf", "gaussian"]

UNUSABLE_PLANES = ("NO_DATA", "BAD", "SAT", "CR", "EDGE", "SAT_TEMPLATE")
"""Planes of pixels that carry no signal."""

FLAGGED_CENTERS = ("NO_DATA", "BAD", "SAT", "EDGE", "SAT_TEMPLATE", "SPIKE")
"""Planes that a source may not have within one pixel of its position."""


@dataclass(frozen=True, kw_only=True)
class SourcesConfig:
    """Settings of `~skytool.stages.diffim.sources.find_sources`.

    Parameters
    ----------
    subtract_background : bool
        Take the sky that is left in the difference off before anything is measured.
    background_size : int
        Side of its cells [pixel].
    background_order : int or None
        Order of the polynomial through the cells, which gives way to a spline where it does not fit
        them; None for a spline at once.
    threshold : float
        Least significance of a detection, of either sign [sigma].
    filter : {"psf", "gaussian"}
        What the difference is filtered with where no score is given: its PSF, or a round Gaussian
        of the same size.
    scale_score : bool
        Scale the variance of the score, and the errors of fluxes by the PSF, to the scatter of the
        score on empty sky, where they differ.
    kernel_width : float
        Full width of that Gaussian [sigma].
    min_pixels : int
        Least number of connected pixels above the threshold.
    grow : float
        By how much footprints grow [standard deviation of the PSF].
    bad_planes : tuple of str
        Planes of pixels without weight in the filter and in measurements.
    reject_planes : tuple of str
        A footprint with a peak on a pixel of these planes is left out.
    remove_planes : tuple of str
        A source with these planes within one pixel of its position is left out.
    remove_interpolated : bool
        Leave out sources of which all nine pixels are filled in.
    aperture : float
        Radius of the circular aperture [pixel].
    deblend : bool
        List every significant peak of a footprint that is resolved from the brighter ones, and fit
        their places and fluxes together.
    least_distance : float
        From those [FWHM].
    prominence : float
        By how much such a peak must stand out of what is between it and them [sigma].
    dipoles : bool
        Fit two lobes to footprints with peaks of both signs.
    dipole : DipoleRule
        How.
    max_dipole_area : int
        Largest footprint that this is tried on [pixel].
    forced : bool
        Measure fluxes at the same positions on the science image and the matched template.
    sky_sources : int
        Number of empty places to measure.
    sky_radius : float
        Radius that has to be empty there [pixel].
    sky_tries : int
        Most places that are looked at, in all.
    seed : int
        Seed of the places.
    raise_on_no_sources : bool
        Fail where nothing is found.
    """

    subtract_background: bool = True
    background_size: int = 128
    background_order: int | None = 3
    threshold: float = 5.0
    filter: Filter = "psf"
    scale_score: bool = True
    kernel_width: float = 7.0
    min_pixels: int = 1
    grow: float = 2.4
    bad_planes: tuple[str, ...] = UNUSABLE_PLANES
    reject_planes: tuple[str, ...] = ("NO_DATA", "SAT", "EDGE")
    remove_planes: tuple[str, ...] = FLAGGED_CENTERS
    remove_interpolated: bool = True
    aperture: float = 12.0
    deblend: bool = True
    least_distance: float = 1.0
    prominence: float = 3.0
    dipoles: bool = True
    dipole: DipoleRule = field(default_factory=DipoleRule)
    max_dipole_area: int = 1200
    forced: bool = True
    sky_sources: int = 0
    sky_radius: float = 8.0
    sky_tries: int = 500
    seed: int = 20261
    raise_on_no_sources: bool = False

    def __post_init__(self) -> None:
        for name in (
            *("threshold", "background_size", "aperture", "kernel_width", "sky_radius"),
            "least_distance",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("grow", "sky_sources", "sky_tries", "max_dipole_area", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
