"""A point spread function with images of their own at the points of a grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.psf.epsf import build_epsf
from skytool.errors import AlgorithmError
from skytool.models.psf.kinds import GridPsf

if TYPE_CHECKING:
    from skytool.core.psf.fit import PsfFit
    from skytool.stages.psf.config import PsfConfig

_STARS_PER_POINT = 15
_FEWEST = 5
_SAMPLES = 2  # per pixel, at least


def grid_psf(fit: PsfFit, config: PsfConfig, *, oversampling: int, name: str) -> GridPsf:
    """Return the images that photutils builds of the stars around the points of a grid.

    Parameters
    ----------
    fit : PsfFit
        Fit of the stars by a model, from which their skies, neighbours and places are taken.
    config : PsfConfig
        Settings.
    oversampling : int
        Samples per pixel along each axis.
    name : str
        What messages call the exposure.

    Raises
    ------
    AlgorithmError
        If there are too few stars.

    Notes
    -----
    A point lies in the middle of its cell. It takes the stars of the cell, or if they are few the
    nearest ones.
    """
    kept = fit.fit.of(fit.kept)
    stars, ny_nx = kept.stars, fit.field.shape
    n_y, n_x = config.grid or _points(len(stars))
    if len(stars) < _FEWEST:
        raise AlgorithmError(
            f"{name}: {len(stars)} stars agree with each other, photutils needs {_FEWEST}.",
            hint="Give --method basis.",
        )
    y, x = stars.positions
    stamps = kept.cleaned()
    images, at_y, at_x = [], [], []
    size_y, size_x = ny_nx[0] / n_y, ny_nx[1] / n_x
    for row in range(n_y):
        for column in range(n_x):
            centre_y, centre_x = (row + 0.5) * size_y - 0.5, (column + 0.5) * size_x - 0.5
            distance = np.maximum(np.abs(y - centre_y) / size_y, np.abs(x - centre_x) / size_x)
            nearest = np.argsort(distance, kind="stable")
            count = max(int(np.count_nonzero(distance <= 0.5)), _FEWEST)
            some = np.sort(nearest[:count])
            try:
                image = build_epsf(
                    stamps[some],
                    stars.weight[some],
                    y=stars.y[some],
                    x=stars.x[some],
                    oversampling=max(oversampling, _SAMPLES),
                )
            except ValueError as error:
                raise AlgorithmError(
                    f"{name}: at (x, y) = ({centre_x:.0f}, {centre_y:.0f}): {error}.",
                    hint="Give a smaller --grid, or --method basis.",
                ) from error
            images.append(image)
            at_y.append(centre_y)
            at_x.append(centre_x)
    samples = max(oversampling, _SAMPLES)
    return GridPsf(np.stack(images), np.array(at_y), np.array(at_x), (samples, samples))


def _points(n_stars: int) -> tuple[int, int]:
    """Return as many points as there are stars for, the same number along both axes."""
    side = max(math.isqrt(n_stars // _STARS_PER_POINT), 1)
    return side, side
