"""The place of a patch as it is typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from skytool.models.skymap.skymap import Patch


@dataclass(frozen=True)
class PatchPlace:
    """Which patch of a tract.

    Parameters
    ----------
    x, y : int
        Its place; ``y`` is -1 if ``x`` is its sequential number.
    """

    x: int
    y: int = -1

    def __str__(self) -> str:
        return str(self.x) if self.y < 0 else f"{self.x},{self.y}"

    def of(self, sky_map: str, tract: int) -> Patch:
        """Return the patch of a tract of the sky map in a file.

        Raises
        ------
        InputError
            If the file cannot be read or holds no sky map.
        IncompatibleError
            If there is no such tract or patch.
        """
        from skytool.io.skymaps import read_sky_map

        found = read_sky_map(sky_map).tract(tract)
        return found.patch_number(self.x) if self.y < 0 else found.patch(y=self.y, x=self.x)


class PatchType(click.ParamType[PatchPlace]):
    """``X,Y``, or a sequential number."""

    name = "X,Y"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> PatchPlace:
        """Parse the place of a patch."""
        if isinstance(value, PatchPlace):
            return value
        match = re.fullmatch(r"(\d{1,9})(?:,\s*(\d{1,9}))?", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no patch; write X,Y as 3,5, or its number.", param, ctx)
        return PatchPlace(*(int(number) for number in match.groups() if number is not None))


PATCH = PatchType()
