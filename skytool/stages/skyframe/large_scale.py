"""Smooth backgrounds over the detectors of an exposure: terms of polynomials, and cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule
from skytool.core.skyframe.focal_plane_grid import Affine, FocalPlaneGrid, FocalPlaneRule
from skytool.core.skyframe.model import smooth_terms
from skytool.errors import IncompatibleError
from skytool.models.background.hdus import BinnedBackground

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from skytool.core.background.blocks import Blocks
    from skytool.stages.skyframe.config import FocalPlaneConfig

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FocalPlane:
    """Where detectors lie, and the limits of all of them.

    Parameters
    ----------
    places : mapping of str to Affine
        From the pixels of each detector to the focal plane.
    shapes : mapping of str to (int, int)
        Their shapes ``(ny, nx)``.
    """

    places: Mapping[str, Affine]
    shapes: Mapping[str, tuple[int, int]]

    @classmethod
    def of(
        cls, shapes: Mapping[str, tuple[int, int]], places: Mapping[str, Affine] | None
    ) -> FocalPlane:
        """Return the focal plane of some detectors.

        Parameters
        ----------
        shapes : mapping of str to (int, int)
            Shape of each detector.
        places : mapping of str to Affine, or None
            Where they lie. A single detector needs no place.

        Raises
        ------
        IncompatibleError
            If there is no place for one of several detectors.
        """
        if places is None and len(shapes) == 1:
            places = {key: Affine.identity() for key in shapes}
        missing = [key for key in shapes if places is None or key not in places]
        if missing:
            raise IncompatibleError(
                f"nothing tells where detector {missing[0]} lies on the focal plane.",
                hint="Give --focal-plane, or exposures with WCS or DETSEC.",
            )
        return cls({key: (places or {})[key] for key in shapes}, dict(shapes))

    @classmethod
    def apart(cls, shapes: Mapping[str, tuple[int, int]]) -> FocalPlane:
        """Return a focal plane where it does not matter how detectors lie: all on one another."""
        return cls({key: Affine.identity() for key in shapes}, dict(shapes))

    @property
    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Lowest and highest y, and x, of all detectors."""
        corners = []
        for key, (ny, nx) in self.shapes.items():
            y, x = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5]), np.array([-0.5, nx - 0.5] * 2)
            corners.append(np.stack(self.places[key](y=y, x=x)))
        y, x = np.concatenate(corners, axis=1)
        return (float(y.min()), float(y.max())), (float(x.min()), float(x.max()))

    def terms(self, detector: str, order: int, *, y: Floats, x: Floats) -> Floats:
        """Return smooth terms up to a total degree, without the constant, at pixels of a detector.

        Parameters
        ----------
        detector : str
            The detector.
        order : int
            Highest total degree.
        y, x : ndarray of float64, shape (n,)
            Pixels.

        Returns
        -------
        terms : ndarray of float64, shape (n, k)
            As `~skytool.core.skyframe.model.smooth_terms` sorts them.
        """
        at_y, at_x = self.places[detector](y=y, x=x)
        y_range, x_range = self.limits
        return smooth_terms(order, y=at_y, x=at_x, y_range=y_range, x_range=x_range)

    def cell_terms(self, detector: str, order: int, cells: CellGrid) -> Floats:
        """Return the terms at the centres of the cells of a detector, row by row."""
        y, x = np.meshgrid(cells.y_centers, cells.x_centers, indexing="ij")
        return self.terms(detector, order, y=y.ravel(), x=x.ravel())


def focal_plane_rule(config: FocalPlaneConfig) -> FocalPlaneRule:
    """Return how a grid over the focal plane is made."""
    return FocalPlaneRule(
        x_size=config.x_size,
        y_size=config.y_size,
        pixel_size=config.pixel_size,
        min_fraction=config.min_frac,
        smooth_scale=config.smooth_scale if config.do_smooth else 0.0,
        style=InterpolationStyle(config.interpolation),
        binning=config.binning,
    )


def measured_cells(
    plane: FocalPlane,
    detectors: Iterable[tuple[str, Blocks, NDArray[np.bool_] | None]],
    config: FocalPlaneConfig,
) -> FocalPlaneGrid:
    """Return the background of an exposure in cells of the focal plane.

    Parameters
    ----------
    plane : FocalPlane
        Where the detectors lie.
    detectors : iterable of (str, Blocks, ndarray of bool or None)
        For each its name, its blocks without objects, and blocks that do not enter.
    config : FocalPlaneConfig
        Size of the cells, and the rest.
    """
    boxes = [(plane.places[key], shape) for key, shape in plane.shapes.items()]
    grid = FocalPlaneGrid.covering(boxes, focal_plane_rule(config))
    for key, blocks, kept_out in detectors:
        bad = blocks.bad if kept_out is None else blocks.bad | kept_out
        affine = plane.places[key].after(_block_affine(blocks))
        grid = grid.with_detector(blocks.mean, bad, affine, pixels=blocks.count)
    return grid


def _block_affine(blocks: Blocks) -> Affine:
    """Return the map from blocks to pixels, as if all blocks were equal."""
    (ny, nx), (by, bx) = blocks.grid.image_shape, blocks.shape
    steps = np.array([nx / bx, ny / by])
    return Affine(np.diag(steps), 0.5 * steps - 0.5)


def on_detector(
    grid: FocalPlaneGrid, plane: FocalPlane, detector: str, config: FocalPlaneConfig
) -> BinnedBackground:
    """Return a background in cells of the focal plane as a background of one detector."""
    shape = plane.shapes[detector]
    counts = tuple(max(length // config.binning, 1) for length in shape)
    cells = CellGrid.from_counts(shape, (counts[0], counts[1]))
    values = grid.on_detector(plane.places[detector], y=cells.y_centers, x=cells.x_centers)
    rule = InterpolationRule(InterpolationStyle(config.interpolation))
    return BinnedBackground(values.astype(np.float32), cells, rule)
