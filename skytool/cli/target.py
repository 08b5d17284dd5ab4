"""The options that name a target grid, and the grid they mean."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.options import (
    GRID_SIZE,
    INPUT,
    SKY_POSITION,
    Angle,
    GridSize,
    Number,
    SkyPosition,
)
from skytool.cli.skymap.patch import PATCH, PatchPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astropy.wcs import WCS

    from skytool.models.sky.geometry import TargetGrid
    from skytool.models.skymap.skymap import Patch

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target grid as the options name it.

    Parameters
    ----------
    like : str, optional
        FITS file or extension, or ASCII header.
    center : SkyPosition, optional
        Position of the middle.
    pixel_scale : float, optional
        Side of a pixel [arcsec].
    size : GridSize, optional
        Width and height.
    projection : str
        FITS code of the projection.
    rotation : float
        Position angle of the y axis [deg].
    auto : bool
        The smallest grid around the inputs.
    border : int
        Pixels added on all sides.
    skymap : str, optional
        File of a sky map.
    tract : int, optional
        Number of one of its tracts.
    patch : PatchPlace, optional
        One of the patches of the tract.
    """

    like: str | None
    center: SkyPosition | None
    pixel_scale: float | None
    size: GridSize | None
    projection: str
    rotation: float
    auto: bool
    border: int
    skymap: str | None
    tract: int | None
    patch: PatchPlace | None

    def files(self) -> list[str]:
        """Return the files that the grid is read from."""
        return [file for file in (self.like, self.skymap) if file is not None]

    @cached_property
    def _patch(self) -> Patch | None:
        """The patch that is the target, read once."""
        if self.skymap is None or self.tract is None or self.patch is None:
            return None
        return self.patch.of(self.skymap, self.tract)

    def cards(self) -> dict[str, tuple[int | str, str]]:
        """Return the header cards, with their comments, that name the target: those of a patch."""
        patch = self._patch
        if patch is None:
            return {}
        return {
            "TRACT": (patch.tract.number, "tract of the sky map"),
            "PATCH": (patch.label, "patch x,y of the tract"),
        }

    def grid(self, footprints: Sequence[tuple[WCS, tuple[int, int]]] = ()) -> TargetGrid:
        """Return the grid.

        Parameters
        ----------
        footprints : sequence of (WCS, (ny, nx))
            The inputs, which ``--auto`` encloses.

        Raises
        ------
        InputError
            If the file cannot be read.
        IncompatibleError
            If it describes no grid, has no such tract or patch, or the inputs cannot be enclosed.
        """
        from skytool.models.sky.geometry import TargetGrid

        if self._patch is not None:
            grid = self._patch.grid()
        elif self.like is not None:
            from skytool.io.grids import read_grid

            grid = read_grid(self.like)
        elif self.auto:
            grid = TargetGrid.enclosing(footprints, pixel_scale=self.pixel_scale)
        else:
            assert self.center is not None  # noqa: S101  checked with the options
            assert self.pixel_scale is not None  # noqa: S101
            assert self.size is not None  # noqa: S101
            grid = TargetGrid.from_center(
                self.center.ra,
                self.center.dec,
                self.pixel_scale,
                self.size.shape(pixel_scale=self.pixel_scale),
                self.projection,
                self.rotation,
            )
        return grid.grown(self.border) if self.border else grid


_OPTIONS = (
    click.option(
        "--like",
        "--header",
        type=INPUT,
        metavar="FILE[EXT]",
        help="Take the grid of a FITS image, or of a text header (.head, .hdr).",
    ),
    click.option("--center", type=SKY_POSITION, help="Middle of the grid, ICRS."),
    click.option(
        "--pixel-scale",
        type=Angle("arcsec", positive=True),
        help="Side of a pixel of the grid [arcsec].",
    ),
    click.option(
        "--size", type=GRID_SIZE, help="Width and height of the grid [pixel], or as 10m,10m."
    ),
    click.option("--projection", default="TAN", help="Projection of the grid about --center."),
    click.option(
        "--rotation",
        type=Number(),
        default=0.0,
        help="Angle from the north to the y axis of the grid about --center [deg].",
    ),
    click.option(
        "--auto",
        is_flag=True,
        help="The smallest grid around the inputs, north up, with their median pixel scale.",
    ),
    click.option(
        "--skymap",
        type=INPUT,
        metavar="FILE",
        help="Take a patch of a sky map, its border included, as the grid.",
    ),
    click.option("--tract", type=click.IntRange(min=0), metavar="T", help="Tract of --skymap."),
    click.option(
        "--patch", type=PATCH, help="Patch of --tract, by its place or by its sequential number."
    ),
    click.option(
        "--border",
        type=click.IntRange(min=0),
        default=0,
        help="Pixels added to the grid on all sides [pixel].",
    ),
)


def target_options(function: F) -> F:
    """Add the options that name a grid, which the command gets as ``target``."""

    @functools.wraps(function)
    def with_target(*args: Any, **kwargs: Any) -> Any:
        names = (
            "like",
            "center",
            "pixel_scale",
            "size",
            "projection",
            "rotation",
            "auto",
            "border",
            "skymap",
            "tract",
            "patch",
        )
        target = Target(**{name: kwargs.pop(name) for name in names})
        _check(target, click.get_current_context())
        return function(*args, target=target, **kwargs)

    decorated: Any = with_target
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)


def _check(target: Target, ctx: click.Context) -> None:
    """Refuse no grid, two grids, and half a grid."""
    ways = {
        "--like": target.like is not None,
        "--center": target.center is not None,
        "--auto": target.auto,
        "--skymap": target.skymap is not None,
    }
    given = [way for way, present in ways.items() if present]
    if not given:
        raise click.UsageError(
            "name the target: --like FILE, or --center with --pixel-scale and --size, or --auto, "
            "or --skymap with --tract and --patch.",
            ctx,
        )
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} both name the target; give one.", ctx)
    _check_patch(target, given[0], ctx)
    parts = {"--pixel-scale": target.pixel_scale, "--size": target.size}
    if target.center is not None:
        missing = [name for name, value in parts.items() if value is None]
        if missing:
            raise click.UsageError(f"--center needs {' and '.join(missing)}.", ctx)
        return
    if target.auto:
        parts.pop("--pixel-scale")
    unused = [name for name, value in parts.items() if value is not None]
    if target.rotation:
        unused.append("--rotation")
    if target.projection.upper() != "TAN":
        unused.append("--projection")
    if unused:
        raise click.UsageError(f"{unused[0]} does nothing with {given[0]}.", ctx)


def _check_patch(target: Target, way: str, ctx: click.Context) -> None:
    """Refuse a sky map without a patch, and a patch without a sky map."""
    places = {"--tract": target.tract, "--patch": target.patch}
    if target.skymap is None:
        given = [name for name, value in places.items() if value is not None]
        if given:
            raise click.UsageError(f"{given[0]} does nothing with {way}.", ctx)
        return
    missing = [name for name, value in places.items() if value is None]
    if missing:
        raise click.UsageError(f"--skymap needs {' and '.join(missing)}.", ctx)
