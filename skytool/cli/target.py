"""The options that name a target grid, and the grid they mean."""

from __future__ import annotations

import functools
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astropy.wcs import WCS

    from skytool.models.geometry import TargetGrid

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
    """

    like: str | None
    center: SkyPosition | None
    pixel_scale: float | None
    size: GridSize | None
    projection: str
    rotation: float
    auto: bool
    border: int

    @property
    def needs_inputs(self) -> bool:
        """Whether the grid depends on the inputs."""
        return self.auto

    def files(self) -> list[str]:
        """Return the files that the grid is read from."""
        return [] if self.like is None else [self.like]

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
            If it describes no grid, or the inputs cannot be enclosed.
        """
        from skytool.models.geometry import TargetGrid

        if self.like is not None:
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
    }
    given = [way for way, present in ways.items() if present]
    if not given:
        raise click.UsageError(
            "name the target: --like FILE, or --center with --pixel-scale and --size, or --auto.",
            ctx,
        )
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} both name the target; give one.", ctx)
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
