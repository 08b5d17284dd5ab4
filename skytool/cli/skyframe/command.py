"""``skytool skyframe``: the pattern of a camera's response to the night sky."""

from __future__ import annotations

import click

from skytool.cli.main import LateGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "build": (
        "skytool.cli.skyframe.build:build",
        "Make sky frames from exposures of different fields.",
    ),
    "apply": (
        "skytool.cli.skyframe.apply:apply",
        "Take sky frames off exposures, scaled to the sky in them.",
    ),
    "undo": (
        "skytool.cli.skyframe.undo:undo",
        "Put back what `skyframe apply` took off.",
    ),
}
"""Subcommands: where each one is, and its line in the help."""


@click.group(cls=LateGroup, late=COMMANDS)
def skyframe() -> None:
    """Remove the pattern of a camera's response to the night sky.

    Vignetting that flat fields leave, rings of filters, glowing edges: in every exposure they are
    there in proportion to the brightness of the sky. A sky frame is this pattern in superpixels,
    relative to the level of the sky. It is built from exposures of different fields and taken off
    others, which carry a record that undo reads.
    """
