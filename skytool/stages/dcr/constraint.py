"""Whether exposures can tell colours at all, and into how many parts a band is worth dividing."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LARGEST_SMEAR = 0.5  # pixel, within one subfilter
_MOST_SUBFILTERS = 5
_LEAST_INFORMATION = 1.0
_FEW = 3
_LOW_AIRMASS = 1.1
_RED = 700.0  # nm
_SEEING_RANGE = 1.2


def chromatic_information(smears: NDArray[np.float64]) -> float:
    """Return how well exposures tell colours apart from positions.

    Parameters
    ----------
    smears : ndarray of float64, shape (n_exposures, 2)
        Shift ``(dy, dx)`` of the bluest light relative to the reddest [pixel].

    Returns
    -------
    float
        Sum of the squares of their distances from their mean [pixel squared]: none if refraction
        is the same in all exposures.
    """
    apart = smears - smears.mean(axis=0)
    return float(np.square(apart).sum())


def automatic_number(smears: NDArray[np.float64]) -> int:
    """Return the number of subfilters of which none smears more than half a pixel."""
    largest = float(np.hypot(*smears.T).max())
    number = min(math.ceil(largest / _LARGEST_SMEAR), _MOST_SUBFILTERS, len(smears))
    return max(number, 1)


def warn_of_constraints(
    smears: NDArray[np.float64],
    airmasses: Sequence[float],
    *,
    effective_wavelength: float,
    widths: Sequence[float],
) -> float:
    """Warn of what keeps exposures from telling colours.

    Parameters
    ----------
    smears : ndarray of float64, shape (n_exposures, 2)
        As for `chromatic_information`.
    airmasses : sequence of float
        Airmass of each exposure.
    effective_wavelength : float
        Middle of the band [nm].
    widths : sequence of float
        Full widths at half maximum of the PSFs that count as equal [pixel]; empty if they need
        not be.

    Returns
    -------
    float
        Chromatic information.

    Warns
    -----
    SkytoolWarning
        For each reason.
    """
    information = chromatic_information(smears)
    reasons = []
    if information < _LEAST_INFORMATION:
        reasons.append(
            f"the exposures cannot constrain colours: their chromatic information is "
            f"{information:.2g} pixel squared, less than 1, for refraction is nearly the same in all"
        )
    if len(smears) < _FEW:
        reasons.append(f"{len(smears)} exposures are few for a model of colours")
    if max(airmasses) < _LOW_AIRMASS:
        reasons.append(
            f"the largest airmass is {max(airmasses):.2f}: a plain coadd is as good a template"
        )
    elif effective_wavelength > _RED:
        reasons.append(
            f"refraction hardly depends on the wavelength at {effective_wavelength:.0f} nm: a plain "
            "coadd is as good a template"
        )
    if widths and max(widths) > _SEEING_RANGE * min(widths):
        reasons.append(
            f"the widths of the PSFs are from {min(widths):.2f} to {max(widths):.2f} pixels; match "
            "them, or give --psf-aware"
        )
    for reason in reasons:
        warnings.warn(f"{reason}.", SkytoolWarning, stacklevel=2)
    return information
