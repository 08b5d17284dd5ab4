"""Where the detectors of a camera lie on its focal plane."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.skyframe.focal_plane_grid import Affine
from skytool.core.sphere.directions import mean_direction, project, unit_vectors
from skytool.errors import IncompatibleError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.io import fits
    from astropy.wcs import WCS

_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")
_COLUMNS = 5


def affine_from_table(text: str, *, name: str) -> dict[str, Affine]:
    """Read the places of detectors from a table.

    Parameters
    ----------
    text : str
        A line for each detector: its number or name, x and y of its first pixel on the focal plane
        [pixel], the angle from the x axis of the focal plane to that of the detector [deg,
        anticlockwise], and the size of its pixels [pixel of the focal plane], negative if the x axis
        is mirrored. Empty lines and what follows ``#`` do not count.
    name : str
        What messages call the table.

    Raises
    ------
    InputError
        If a line is of another form, or a detector is there twice.
    """
    places: dict[str, Affine] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        where = f"{name}, line {number}"
        try:
            key, (x0, y0, angle, scale) = words[0], (float(word) for word in words[1:])
        except ValueError:
            raise InputError(
                f"{where}: not a detector with x0, y0, angle and scale.",
                hint="Write as `3 0 4200 90.0 1.0`.",
            ) from None
        if key in places:
            raise InputError(f"{where}: detector {key} is there twice.")
        if not (math.isfinite(x0 + y0 + angle + scale) and scale != 0):
            raise InputError(f"{where}: {' '.join(words[1:])} is no place.")
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        size, flip = abs(scale), math.copysign(1.0, scale)
        matrix = size * np.array([[cos * flip, -sin], [sin * flip, cos]])
        places[key] = Affine(matrix, np.array([x0, y0]))
    return places


def affine_from_section(header: fits.Header, shape: tuple[int, int]) -> Affine | None:
    """Return the place that DETSEC gives; None if it is missing or does not fit the shape."""
    match = _SECTION.fullmatch(str(header.get("DETSEC", "")).strip())
    if match is None:
        return None
    x1, x2, y1, y2 = (int(part) for part in match.groups())
    ny, nx = shape
    spans = abs(x2 - x1) + 1, abs(y2 - y1) + 1
    bins = spans[0] / nx, spans[1] / ny
    if min(bins) < 1 or abs(bins[0] - bins[1]) > 0.02 * bins[0]:
        return None
    signs = np.array([1.0 if x2 >= x1 else -1.0, 1.0 if y2 >= y1 else -1.0])
    steps = signs * bins
    first = np.array([x1, y1]) - 0.5 * signs + 0.5 * steps
    return Affine(np.diag(steps), first - 1)


def affines_from_wcs(
    detectors: Mapping[str, tuple[WCS, tuple[int, int]]], reference: str
) -> dict[str, Affine]:
    """Return the places of detectors of one exposure in pixels of one of them, from their WCS.

    Parameters
    ----------
    detectors : mapping of str to (WCS, (int, int))
        Celestial coordinates and shape ``(ny, nx)`` of each.
    reference : str
        The detector whose pixels measure the focal plane.

    Raises
    ------
    IncompatibleError
        If the detectors do not lie within a hemisphere, or coordinates are unusable.
    """
    points = {key: _lattice(wcs, shape) for key, (wcs, shape) in detectors.items()}
    center = mean_direction(np.concatenate([vectors for _, vectors in points.values()]))
    flat = {}
    for key, (pixels, vectors) in points.items():
        plane = np.stack(project(vectors, center), axis=-1)
        design = np.column_stack([pixels, np.ones(len(pixels))])
        if not np.isfinite(plane).all():
            raise IncompatibleError(f"the WCS of detector {key} is of no use for its place.")
        fit = np.linalg.lstsq(design, plane, rcond=None)[0]
        flat[key] = Affine(fit[:2].T.copy(), fit[2])
    to_reference = flat[reference].inverse()
    return {key: to_reference.after(affine) for key, affine in flat.items()}


def _lattice(wcs: WCS, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return nine pixels ``(x, y)`` of a detector and their directions."""
    ny, nx = shape
    y, x = (
        axis.ravel()
        for axis in np.meshgrid(np.linspace(0, ny - 1, 3), np.linspace(0, nx - 1, 3), indexing="ij")
    )
    ra, dec = wcs.all_pix2world(x, y, 0)
    return np.column_stack([x, y]), unit_vectors(ra, dec)


def arrange(
    visits: Sequence[Mapping[str, tuple[WCS | None, fits.Header, tuple[int, int]]]],
) -> dict[str, Affine] | None:
    """Return the places of all detectors that several visits have seen.

    Parameters
    ----------
    visits : sequence of mapping
        For every visit its detectors: WCS or None, header, and shape ``(ny, nx)``.

    Returns
    -------
    places : dict of str to Affine, or None
        In pixels of one detector, from the first of these that all detectors have: DETSEC cards, a
        WCS in a visit together with the first detector. None if there is neither.
    """
    every = list(dict.fromkeys(key for visit in visits for key in visit))
    if len(every) == 1:
        return {every[0]: Affine.identity()}
    places: dict[str, Affine] = {}
    for visit in visits:
        for key, (_, header, shape) in visit.items():
            found = affine_from_section(header, shape)
            if found is not None:
                places.setdefault(key, found)
    if len(places) == len(every):
        return places
    reference = max(every, key=lambda key: sum(key in visit for visit in visits))
    places = {}
    for visit in visits:
        known = {key: (wcs, shape) for key, (wcs, _, shape) in visit.items() if wcs is not None}
        if reference in known and any(key not in places for key in known):
            for key, affine in affines_from_wcs(known, reference).items():
                places.setdefault(key, affine)
    return places if len(places) == len(every) else None
