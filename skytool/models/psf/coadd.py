"""The point spread function of warps and coadds: that of every input, resampled and averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from skytool.errors import AlgorithmError, InputError
from skytool.models.exposure import Origin
from skytool.models.psf.base import Psf
from skytool.models.psf.sampled import GridPsf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from skytool.models.psf.base import Hdu
    from skytool.models.psf.input import PsfInput

    Image = NDArray[np.float64]
    Vector = NDArray[np.float64]

_GRID_STEP = 256  # [pixel] between the points of the simple form
_FEWEST_POINTS, _MOST_POINTS = 3, 9  # along an axis


class NoInputsError(AlgorithmError):
    """A position that no input image sees, so that there is no star to speak of."""


@dataclass(frozen=True, eq=False)
class CoaddPsf(Psf):
    """The weighted mean of the PSFs of the inputs that see a position, each as it was resampled.

    Parameters
    ----------
    inputs : tuple of PsfInput
        At least one.
    area : tuple of int
        Shape ``(ny, nx)`` of the warp or coadd.
    start : Origin
        Its first pixel.
    grid : GridPsf, optional
        Simple form of the same PSF, for readers that know no other; see `gridded`.

    Notes
    -----
    `kernel_image` is the star in the middle of the pixel that holds the position, `image` the star
    at the position itself. Each star is drawn on its detector with its place between the pixels
    there, and resampled under the linear part of the map by the kernel of the warp: a star of the
    warp has gone the same way. A map between two grids has no shift, so that the stamps of several
    inputs agree in their centre; its pixels do not, and the stars differ from pixel to pixel as
    far as resampling makes them differ.
    """

    inputs: tuple[PsfInput, ...]
    area: tuple[int, int]
    start: Origin = field(default=Origin(0, 0))
    grid: GridPsf | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError("the PSF of a warp or coadd has no inputs.")

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape ``(h, w)`` of the stamps, odd [pixel]: the largest among the inputs."""
        shapes = [entry.warped_shape(y=entry.center[0], x=entry.center[1]) for entry in self.inputs]
        return max(h for h, _ in shapes), max(w for _, w in shapes)

    @cached_property
    def _windows(self) -> NDArray[np.int64]:
        """First and last rows and columns that the inputs see, shape ``(4, n)``."""
        maps = [entry.pixel_map for entry in self.inputs]
        return np.array(
            [(*m.start, m.start[0] + m.shape[0], m.start[1] + m.shape[1]) for m in maps]
        ).T

    def contributions(self, *, y: float, x: float) -> list[tuple[PsfInput, float]]:
        """Return the inputs that make the star at a position [pixel], with their weights.

        Raises
        ------
        NoInputsError
            If there are none.
        """
        y0, x0, y1, x1 = self._windows
        near = (y >= y0 - 0.5) & (y <= y1 - 0.5) & (x >= x0 - 0.5) & (x <= x1 - 0.5)
        groups: dict[int, list[PsfInput]] = {}
        for index in np.flatnonzero(near):
            entry = self.inputs[index]
            if entry.weight > 0.0 and entry.sees(y=y, x=x):
                groups.setdefault(entry.group, []).append(entry)
        found = []
        for entries in groups.values():
            highest = max(entry.rank for entry in entries)
            chosen = [entry for entry in entries if entry.rank == highest]
            found += [
                (entry, entry.weight / (len(chosen) if entry.shares else 1)) for entry in chosen
            ]
        if not found:
            raise NoInputsError(f"no input image sees (x, y) = ({x:g}, {y:g}).")
        return found

    def kernel_image(
        self, *, y: float, x: float, shape: tuple[int, int] | None = None
    ) -> NDArray[np.float64]:
        """Return the star in the middle of the pixel that holds a position.

        Parameters and result are those of `Psf.kernel_image`.

        Raises
        ------
        NoInputsError
            If no input sees the middle of the pixel.
        AlgorithmError
            If a transform is impossible, or a star has no positive sum.
        """
        return super().kernel_image(y=math.floor(y + 0.5), x=math.floor(x + 0.5), shape=shape)

    def _profile(self, *, y: float, x: float, rows: Vector, columns: Vector) -> Image:
        total = np.zeros((rows.size, columns.size))
        for entry, weight in self.contributions(y=y, x=x):
            total += weight * entry.star(y=y, x=x, rows=rows, columns=columns)
        return total

    def average_position(self) -> tuple[float, float]:
        """Return the mean position ``(y, x)`` of what the inputs see, weighted by pixels [pixel].

        While no input sees it, as between two detectors far apart, the lightest is left out.
        """
        entries = sorted(self.inputs, key=lambda entry: -_mass(entry))
        while entries:
            masses = np.array([_mass(entry) for entry in entries])
            if not masses.any():
                masses[:] = 1.0
            y, x = (masses @ np.array([entry.center for entry in entries]) / masses.sum()).tolist()
            if any(entry.sees(y=y, x=x) for entry in self.inputs):
                return y, x
            entries.pop()
        raise NoInputsError("no input image sees the middle of what it gives.")

    def gridded(self, *, step: float = _GRID_STEP) -> GridPsf:
        """Return the stars on a lattice of points, which has one for every position.

        Parameters
        ----------
        step : float
            Largest distance of the points [pixel], unless that would be more than 9 along an axis.

        Returns
        -------
        GridPsf
            Where no input sees a point, the star of the nearest that one sees.
        """
        y, x = (
            first + np.rint(np.linspace(0, size - 1, _n_points(size, step)))
            for first, size in zip(self.start, self.area, strict=True)
        )
        points = np.stack(np.meshgrid(np.unique(y), np.unique(x), indexing="ij"), axis=-1)
        points = points.reshape(-1, 2)
        stars = [self._star_or_none(*point) for point in points.tolist()]
        seen = np.array([star is not None for star in stars])
        if not seen.any():
            at_y, at_x = self.average_position()
            stamp = self.kernel_image(y=at_y, x=at_x)
            return GridPsf(stamp[np.newaxis], np.array([at_y]), np.array([at_x]))
        distance = np.square(points[:, np.newaxis] - points[seen]).sum(axis=-1)
        nearest = np.flatnonzero(seen)[distance.argmin(axis=1)]
        stamps = np.array([stars[index] for index in nearest], dtype=np.float64)
        return GridPsf(stamps, points[:, 0], points[:, 1])

    def _star_or_none(self, y: float, x: float) -> Image | None:
        try:
            return self.kernel_image(y=y, x=x)
        except NoInputsError:
            return None

    def with_grid(self) -> Self:
        """Return this PSF with its simple form computed."""
        return self if self.grid is not None else replace(self, grid=self.gridded())

    def everywhere(self) -> Psf:
        """Return the simple form, which has a star also where no input sees the position."""
        return self.grid if self.grid is not None else self.gridded()

    def changed(self, change: Callable[[PsfInput], PsfInput]) -> Self:
        """Return the PSF whose inputs a function changed."""
        return replace(self, inputs=tuple(change(entry) for entry in self.inputs), grid=None)

    def shifted(self, dy: float, dx: float) -> Self:
        """Return the same stars for an array in which all positions are larger by ``(dy, dx)``.

        Raises
        ------
        ValueError
            If the shift is not by whole pixels.
        """
        if dy != int(dy) or dx != int(dx):
            msg = f"the pixels of a coadd do not move by ({dy}, {dx})"
            raise ValueError(msg)
        y, x = int(dy), int(dx)
        return replace(
            self,
            inputs=tuple(entry.shifted(y, x) for entry in self.inputs),
            start=Origin(self.start.y + y, self.start.x + x),
            grid=None if self.grid is None else self.grid.shifted(dy, dx),
        )

    def to_hdus(self, *, extname: str = "PSF", extver: int = 1) -> list[Hdu]:
        """Return the extensions that `~skytool.models.psf.kinds.psf_from_hdus` reads.

        They are described with `skytool.models.psf.coadd_hdus`.
        """
        from skytool.models.psf.coadd_hdus import coadd_psf_to_hdus

        return coadd_psf_to_hdus(self, extname=extname, extver=extver)


def merged_psf(psfs: Iterable[tuple[CoaddPsf, float]], area: tuple[int, int]) -> CoaddPsf:
    """Return the PSF of the weighted mean of warps on one grid.

    Parameters
    ----------
    psfs : iterable of (CoaddPsf, float)
        PSF and weight of each warp. Groups stay apart; of a PSF of several groups, which is that
        of a coadd, the weights keep their ratios and together have the weight given.
    area : tuple of int
        Shape ``(ny, nx)`` of the grid.
    """
    inputs: list[PsfInput] = []
    n_groups = 0
    for psf, weight in psfs:
        heaviest: dict[int, float] = {}
        for entry in psf.inputs:
            heaviest[entry.group] = max(heaviest.get(entry.group, 0.0), entry.weight)
        together = math.fsum(heaviest.values())
        places = {group: n_groups + place for place, group in enumerate(heaviest)}
        inputs += [
            replace(entry, group=places[entry.group], weight=weight * entry.weight / together)
            for entry in psf.inputs
        ]
        n_groups += len(places)
    return CoaddPsf(tuple(inputs), area)


def _mass(entry: PsfInput) -> float:
    return entry.weight * entry.good_pixels


def _n_points(size: int, step: float) -> int:
    """Return how many points an axis of a length gets."""
    return min(max(math.ceil((size - 1) / step) + 1, _FEWEST_POINTS), _MOST_POINTS)
