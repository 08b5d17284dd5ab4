"""``skytool skymap``: tracts and patches of the sky."""

from __future__ import annotations

import click

from skytool.cli.main import LateGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "make": ("skytool.cli.skymap.make:make", "Divide the sky, or a field, into tracts."),
    "list": ("skytool.cli.skymap.list:list_tracts", "List the tracts, or the patches of a tract."),
    "find": ("skytool.cli.skymap.find:find", "Find the tracts and patches of positions or images."),
}
"""Subcommands: where each one is, and its line in the help."""


@click.group(cls=LateGroup, late=COMMANDS)
def skymap() -> None:
    """Divide the sky into tracts and patches, and look them up.

    A tract is a part of the sky whose pixels share one coordinate system; a patch is a rectangle
    of these pixels, the target of a warp: skytool warp --skymap FILE --tract T --patch X,Y.
    """
