"""Settings of ``skytool warp``: what the options mean together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.stages.warp import WarpConfig


def stage_config(settings: dict[str, Any]) -> WarpConfig:
    """Return the settings of the stage, checked against each other."""
    from skytool.models.mask import parse_planes
    from skytool.stages.warp import WarpConfig

    ctx = click.get_current_context()
    if (settings["units"] == "zeropoint") != (settings["zeropoint"] is not None):
        raise click.UsageError("--units zeropoint and --zeropoint go together.", ctx)
    values = {name: settings[name] for name in WarpConfig.__dataclass_fields__ if name in settings}
    for name in ("fill_planes", "bad_planes", "grow_planes"):
        values[name] = parse_planes(",".join(values[name]))
    values["oversample"] = _oversample(settings["oversample"], ctx)
    try:
        config = WarpConfig(**values)
    except ValueError as error:
        raise click.UsageError(f"{error}.", ctx) from error
    if config.takes_areas:
        unused = ("mask_kernel", "oversample", "pixel_area")
        refuse_unused(unused, f"with --kernel {config.kernel}", ctx)
    if settings["add_background"] is None and settings["sky_correction"] is None:
        why = "without --add-background or --sky-correction"
        refuse_unused(("flat_background_ratio",), why, ctx)
    if not config.noise:
        refuse_unused(("noise_variance",), "without --noise", ctx)
    return config


def with_background(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the background that ``--no-bg-subtracted`` adds."""
    if settings["bg_subtracted"]:
        if settings["add_background"] is not None:
            why = "with --add-background"
            refuse_unused(("bg_subtracted",), why, click.get_current_context())
        return settings
    return {**settings, "add_background": settings["add_background"] or "stored"}


def refuse_unused(names: Sequence[str], why: str, ctx: click.Context) -> None:
    """Refuse options of the command line that have no use."""
    from click.core import ParameterSource

    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} does nothing {why}.", ctx)


def _oversample(text: str, ctx: click.Context) -> int | None:
    """Return the samples per axis, None for ``auto``."""
    if text == "auto":
        return None
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text) <= 16:
        raise click.UsageError(f"--oversample {text} must be auto, or 1 to 16.", ctx)
    return int(text)
