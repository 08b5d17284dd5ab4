"""Pieces of sky that are solved for one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.basis import band_nodes
from skytool.core.windows import Window
from skytool.models.dcr.refraction_shifts import local_refraction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.core.refraction.atmosphere import Variant
    from skytool.models.dcr.bands import Band
    from skytool.models.dcr.refraction_shifts import LocalRefraction
    from skytool.models.observation.pointing import Pointing


@dataclass(frozen=True, eq=False)
class Tile:
    """A piece of sky.

    Parameters
    ----------
    core : Window
        Pixels that are wanted.
    outer : Window
        These and what is around them.
    dy, dx : ndarray of float64, shape (n_exposures, n_nodes)
        Shift of every exposure at `~skytool.core.dcr.basis.band_nodes` [pixel].
    pairs : ndarray of float64, shape (n_exposures, n_subfilters, 2, 2)
        Shifts ``(dy, dx)`` of the two halves of every subfilter [pixel].
    throughput : ndarray of float64, shape (n_nodes,)
        Relative throughput at the nodes.
    """

    core: Window
    outer: Window
    dy: NDArray[np.float64]
    dx: NDArray[np.float64]
    pairs: NDArray[np.float64]
    throughput: NDArray[np.float64]

    @property
    def cut(self) -> tuple[slice, slice]:
        """Rows and columns of the wanted pixels among those of `outer`."""
        return self.core.within(self.outer)


@dataclass(frozen=True, eq=False)
class RefractionSetting:
    """What the shifts of all exposures follow from.

    Parameters
    ----------
    pointings : sequence of Pointing
        Where the zenith was in each exposure.
    wcs : `~astropy.wcs.WCS`
        Coordinates of the pixels of all.
    band : Band
        The band.
    reference_wavelength : float
        Wavelength of light that is in its place [nm].
    variant : {"stone", "lsst", "filippenko"}
        Formula of the refraction.
    """

    pointings: Sequence[Pointing]
    wcs: WCS
    band: Band
    reference_wavelength: float
    variant: Variant = "stone"

    def local(self, *, y: float, x: float) -> list[LocalRefraction]:
        """Return the refraction of every exposure at a pixel."""
        return [
            local_refraction(
                pointing,
                self.wcs,
                y=y,
                x=x,
                reference_wavelength=self.reference_wavelength,
                variant=self.variant,
            )
            for pointing in self.pointings
        ]

    def smears(self, *, y: float, x: float) -> NDArray[np.float64]:
        """Return the shift of the bluest light relative to the reddest, shape (n, 2) [pixel]."""
        ends = np.array(self.band.limits)
        shifts = [local.shifts(ends) for local in self.local(y=y, x=x)]
        return np.array([(dy[0] - dy[1], dx[0] - dx[1]) for dy, dx in shifts])

    def tile(self, core: Window, outer: Window, n_subfilters: int) -> Tile:
        """Return a piece of sky with the shifts in its middle."""
        from skytool.models.dcr.refraction_shifts import shifts_of_subfilters

        wavelengths = self.band.effective_wavelength + self.band.bandwidth / 2.0 * band_nodes(
            n_subfilters
        )
        locals_ = self.local(
            y=core.y + (core.shape[0] - 1) / 2.0, x=core.x + (core.shape[1] - 1) / 2.0
        )
        shifts = np.array([local.shifts(wavelengths) for local in locals_])
        parts = self.band.subfilters(n_subfilters)
        halves = [shifts_of_subfilters(local, parts) for local in locals_]
        pairs = np.array([np.stack([half.dy, half.dx], axis=-1) for half in halves])
        throughput = self.band.throughput(wavelengths)
        return Tile(core, outer, shifts[:, 0], shifts[:, 1], pairs, throughput)


def tiles_of(
    setting: RefractionSetting,
    shape: tuple[int, int],
    n_subfilters: int,
    *,
    size: tuple[int, int],
    border: int,
) -> list[Tile]:
    """Return the pieces of an image, of nearly equal shapes, by rows.

    Parameters
    ----------
    setting : RefractionSetting
        Refraction.
    shape : tuple of int
        Shape ``(ny, nx)`` of the image.
    n_subfilters : int
        Number of subfilters.
    size : tuple of int
        Largest shape of a piece [pixel].
    border : int
        Pixels around it that help, beyond the largest shift.
    """
    middle = {"y": (shape[0] - 1) / 2.0, "x": (shape[1] - 1) / 2.0}
    reach = border + math.ceil(float(np.abs(setting.smears(**middle)).max()))
    whole = Window.whole(shape)
    tiles = []
    for y0, y1 in _parts(shape[0], size[0]):
        for x0, x1 in _parts(shape[1], size[1]):
            core = Window(y=y0, x=x0, shape=(y1 - y0, x1 - x0))
            grown = Window(
                y=y0 - reach, x=x0 - reach, shape=(y1 - y0 + 2 * reach, x1 - x0 + 2 * reach)
            )
            outer = grown.common(whole)
            tiles.append(setting.tile(core, outer or core, n_subfilters))
    return tiles


def _parts(length: int, size: int) -> list[tuple[int, int]]:
    """Return begins and ends of nearly equal parts of an axis."""
    count = -(-length // size)
    edges = [length * number // count for number in range(count + 1)]
    return list(pairwise(edges))
