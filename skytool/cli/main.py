"""The program: a group that imports a command when it is called, and one error boundary."""

from __future__ import annotations

import gc
import importlib
import math
import os
import shlex
import signal
import sys
import time
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from skytool import __version__
from skytool.cli import logs
from skytool.environment import settle_environment
from skytool.errors import SkytoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

COMMANDS: dict[str, tuple[str, str]] = {
    "psf": ("skytool.cli.psf.command:psf", "Measure the PSF of exposures on their stars."),
    "warp": ("skytool.cli.warp.command:warp", "Resample the exposures of a visit to one grid."),
    "match-bg": (
        "skytool.cli.match_bg.command:match_bg",
        "Make the backgrounds of exposures of one field common.",
    ),
    "skyframe": (
        "skytool.cli.skyframe.command:skyframe",
        "Remove the pattern of a camera's response to the night sky.",
    ),
    "coadd": ("skytool.cli.coadd.command:coadd", "Add warps of several visits to one image."),
    "diffim": ("skytool.cli.diffim.command:diffim", "Subtract a template from a science image."),
    "dcr-shifts": (
        "skytool.cli.dcr.shifts:dcr_shifts",
        "Say where refraction puts the parts of a band in exposures.",
    ),
    "dcr-assemble": (
        "skytool.cli.dcr.assemble:dcr_assemble",
        "Model the sky in parts of a band, as refraction shows it.",
    ),
    "dcr-template": (
        "skytool.cli.dcr.template:dcr_template",
        "Make the template of an exposure, with its refraction.",
    ),
    "skymap": (
        "skytool.cli.skymap.command:skymap",
        "Divide the sky into tracts and patches, and look them up.",
    ),
    "info": ("skytool.cli.info.command:info", "Say what a file holds, and check it."),
    "convert": (
        "skytool.cli.convert.command:convert",
        "Write a file of any known layout in another.",
    ),
    "show": ("skytool.cli.show.command:show", "Draw a picture of an exposure."),
}
"""Commands in the order of a reduction: where each one is, and its line in the help."""

_MEMORY = 5
_FILES = 3
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_CLEANING = 5.0  # seconds in which a second signal changes nothing
_COLLECTED = (7_000, 10, 10)  # new objects, and rounds, between two searches for garbage


class LateGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called.

    Parameters
    ----------
    late : mapping of str to (str, str)
        ``"module:attribute"`` and help line of every command, in the order of the help.
    """

    def __init__(
        self, *args: Any, late: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.late = late or {}
        self.params += logs.verbosity_options()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(self.late)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module that holds ``cmd_name``."""
        if cmd_name not in self.late:
            return None
        module, _, attribute = self.late[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, so that ``--help`` imports none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.late.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first argument, or suggest the nearest name."""
        name = args[0]
        if name not in self.late and not name.startswith("-") and not ctx.resilient_parsing:
            close = get_close_matches(name, self.late, 1)
            known = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(self.late)}."
            ctx.fail(f"no command {name!r}. {known}")
        return super().resolve_command(ctx, args)


class Program(LateGroup):
    """The outermost group: every failure of a command becomes one line and an exit status."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program and exit with its status; arguments as for `click.Command.main`."""
        exits = kwargs.get("standalone_mode", True)
        kwargs["standalone_mode"] = False
        run: Callable[[], Any] = partial(super().main, *args, **kwargs)
        if not exits:
            return run()
        with _signals_as_exits(), logs.console():
            status = _status_of(run)
        sys.exit(status)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the part of the command line that is the group's own."""
        with _stops():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _stops():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


class _StoppedError(Exception):
    """The run was ended from outside, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


@contextmanager
def _stops() -> Iterator[None]:
    """Take over what click would answer with a status of its own."""
    try:
        yield
    except KeyboardInterrupt:
        logs.failure("interrupted.")
        raise _StoppedError(_INTERRUPTED) from None
    except BrokenPipeError:
        _drop_stdout()
        raise _StoppedError(_BROKEN_PIPE) from None


def _status_of(body: Callable[[], Any]) -> int:
    """Run ``body`` and return its exit status, saying on stderr what went wrong."""
    try:
        status = body()
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        logs.failure(_usage(error))
        return error.exit_code
    except SkytoolError as error:
        logs.failure(str(error), exc_info=error if logs.show_tracebacks() else None)
        return error.exit_code
    except _StoppedError as stopped:
        return stopped.status
    except click.Abort:  # Ctrl-C between our own steps
        return _INTERRUPTED
    except MemoryError as error:
        detail = f" ({error})" if str(error) else ""
        logs.failure(f"not enough memory{detail}. Give fewer --jobs, or less at a time.")
        return _MEMORY
    except OSError as error:
        logs.failure(_file_trouble(error), exc_info=error if logs.show_tracebacks() else None)
        return _FILES
    except Exception as error:  # noqa: BLE001  the boundary: whatever is left is a bug
        command = shlex.join(["skytool", *sys.argv[1:]])
        logs.failure(f"a bug in skytool {__version__}, met by: {command}", exc_info=error)
        return 1


def _usage(error: click.ClickException) -> str:
    """Return a usage error as one line that says where the help is."""
    text = " ".join(error.format_message().split())
    ctx = getattr(error, "ctx", None)
    if ctx is None:
        return text
    return f"{text} See '{ctx.command_path} --help'."


def _file_trouble(error: OSError) -> str:
    """Return what the operating system complains about, with the file it names."""
    text = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {text}." if error.filename is not None else f"{text}."


def _drop_stdout() -> None:
    """Let nothing be written to a pipe that nobody reads, not even when Python exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """Make SIGTERM and SIGHUP leave through ``finally``, so that no part file stays."""
    last = -math.inf

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last < _CLEANING:  # do not disturb the cleaning up
            return
        last = time.monotonic()
        raise SystemExit(128 + number)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # nohup wants it so
            continue
        with suppress(ValueError):  # not the main thread: nothing to catch here
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    click.echo(f"skytool, version {__version__}")
    if logs.is_verbose():
        from importlib.metadata import PackageNotFoundError, version

        click.echo(f"python {sys.version.split()[0]}")
        for name in ("numpy", "scipy", "astropy", "numba", "reproject", "photutils", "click"):
            with suppress(PackageNotFoundError):
                click.echo(f"{name} {version(name)}")
    ctx.exit()


@click.group(
    cls=Program,
    late=COMMANDS,
    context_settings={
        "auto_envvar_prefix": "SKYTOOL",
        "help_option_names": ["-h", "--help"],
        "show_default": True,
    },
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit; with -v also those of the libraries.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Process astronomical images in FITS files, one stage a command."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run the command line.

    The libraries make half a million objects that live to the end. Python would search them for
    garbage again and again while they are imported, and twice more on its way out, which takes
    longer than many a command.
    """
    gc.set_threshold(*_COLLECTED)
    settle_environment()
    try:
        cli(prog_name="skytool")
    finally:
        gc.freeze()
