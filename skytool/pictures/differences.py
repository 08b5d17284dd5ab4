"""Panels of differences: their kernel, their significance, their sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError
from skytool.models.matching_kernel import MatchingKernel
from skytool.models.source_catalogue import EXTNAME, SourceCatalogue
from skytool.pictures.scatter import Points, ScatterPanel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.pictures.colours import Colour

    Flags = NDArray[np.bool_]

_GRID = 3  # kernels along each side
_NOT_NOISE = ("BAD", "SAT", "EDGE", "NO_DATA")
_GAUSSIAN: Colour = (0.62, 0.66, 0.72)
_FOUND: Colour = (0.11, 0.38, 0.75)
_NEGATIVE: Colour = (0.83, 0.33, 0.10)
_DIPOLE: Colour = (0.45, 0.20, 0.60)
_REACH, _STEP = 8.0, 0.25  # of the histogram [sigma]


def kernels_image(exposure: Exposure) -> NDArray[np.float32]:
    """Return the matching kernel at places all over a difference, side by side.

    Raises
    ------
    IncompatibleError
        If the exposure holds no matching kernel.
    """
    if not any(hdu.name == "KBASIS" for hdu in exposure.extensions):
        raise IncompatibleError(
            f"{exposure.name} holds no matching kernel.", hint="Give what `skytool diffim` made."
        )
    kernel = MatchingKernel.from_hdus(exposure.extensions, name=exposure.name).kernel
    places = (np.arange(_GRID) + 0.5) / _GRID
    y, x = (places * size - 0.5 for size in exposure.shape)
    rows = [np.hstack(list(kernel.at_many(y=np.full(_GRID, row), x=x))) for row in y]
    return np.vstack(rows).astype(np.float32)


def significance_panel(exposure: Exposure, title: str) -> ScatterPanel:
    """Return how often pixels have a signal-to-noise ratio, and how often noise would have it.

    Parameters
    ----------
    exposure : Exposure
        A difference, or a score, whose extension SNR counts then.
    title : str
        First line above the panel.

    Raises
    ------
    IncompatibleError
        If no pixel has a ratio.
    """
    snr = _significance(exposure)
    if not snr.size:
        raise IncompatibleError(f"{exposure.name} has no pixel with image and variance.")
    edges = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    counts = np.histogram(snr, edges)[0]
    middles = 0.5 * (edges[:-1] + edges[1:])
    root = math.sqrt(2.0)
    below = np.array([0.5 * math.erfc(-edge / root) for edge in edges])
    expected = snr.size * np.diff(below)
    some, likely = counts > 0, expected >= 1.0
    spread = np.diff(np.percentile(snr, [25.0, 75.0]))[0] / 1.349
    return ScatterPanel(
        points=(
            Points("unit Gaussian", _GAUSSIAN, middles[likely], np.log10(expected[likely])),
            Points("pixels", _FOUND, middles[some], np.log10(counts[some])),
        ),
        title=title,
        subtitle=f"standard deviation of the bulk {spread:.3f}, median {np.median(snr):+.3f}",
        x_label="signal-to-noise ratio",
        y_label=f"logarithm of the number of pixels in {_STEP:g}",
    )


def _significance(exposure: Exposure) -> NDArray[np.float64]:
    """Return the ratios of good pixels."""
    image = next(
        (hdu.data for hdu in exposure.extensions if hdu.name == "SNR" and hdu.is_image), None
    )
    if image is None or image.shape != exposure.shape:
        with np.errstate(invalid="ignore", divide="ignore"):
            image = exposure.image / np.sqrt(exposure.variance)
    good = np.isfinite(image) & np.isfinite(exposure.variance)
    good &= ~exposure.mask.any_of(_NOT_NOISE)
    return np.asarray(image[good], np.float64)


def sources_panel(exposure: Exposure, title: str) -> ScatterPanel:
    """Return where the sources of a difference are.

    Parameters
    ----------
    exposure : Exposure
        A difference with its table of sources.
    title : str
        First line above the panel.

    Raises
    ------
    IncompatibleError
        If there is no table of sources.
    """
    table = next((hdu for hdu in exposure.extensions if hdu.name == EXTNAME), None)
    if table is None:
        raise IncompatibleError(
            f"{exposure.name} has no table {EXTNAME}.",
            hint="Give what `skytool diffim` with --sources made.",
        )
    catalogue = SourceCatalogue.from_hdu(table, name=exposure.name).of_sky(sky=False)
    columns = catalogue.columns
    negative = np.asarray(columns["NEGATIVE"], np.bool_)
    dipole = np.asarray(columns.get("DIPOLE", np.zeros(len(catalogue))), np.bool_)
    kinds: tuple[tuple[str, Colour, Flags], ...] = (
        ("positive", _FOUND, ~negative & ~dipole),
        ("negative", _NEGATIVE, negative & ~dipole),
        ("dipoles", _DIPOLE, dipole),
    )
    x, y = (
        np.asarray(columns[name], np.float64) + start
        for name, start in (("X", exposure.origin.x), ("Y", exposure.origin.y))
    )
    return ScatterPanel(
        points=tuple(
            Points(f"{name}: {np.count_nonzero(of)}", colour, x[of], y[of])
            for name, colour, of in kinds
        ),
        title=title,
        subtitle=f"{len(catalogue)} sources",
        x_label="column [pixel]",
        y_label="row [pixel]",
    )
