"""What the program says on stderr: log lines, Python warnings, verbosity, a log file."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytool.cli.sections import RUNNING, SectionOption
from skytool.errors import OutputError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLOURS = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow"}


class _Lines(logging.Formatter):
    """``LEVEL name: message``, or ``skytool: error: message`` for what ended the run."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it if the record has one."""
        level = record.levelname
        failure = getattr(record, "failure", False)
        word = "error" if failure else level
        if level in _COLOURS and not os.environ.get("NO_COLOR"):
            word = click.style(word, fg=_COLOURS[level], bold=True)
        head = f"skytool: {word}: " if failure else f"{word} {record.name}: "
        text = head + record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _Console(logging.Handler):
    """The stderr of the moment, so that a test or a redirection sees the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Lines())
        self.reset()

    def reset(self) -> None:
        """Go back to the usual verbosity, without a log file."""
        self.verbose = 0
        self.quiet = 0
        self.has_bar = False
        self.files: list[logging.Handler] = []
        self.seen: set[tuple[type[Warning], str]] = set()
        self.said: set[tuple[int, str]] = set()
        self.unreported: list[str] = []

    def apply(self) -> None:
        """Set the levels that the counts of -v and -q ask for."""
        level = logging.INFO + 10 * (self.quiet - self.verbose)
        self.setLevel(min(max(level, logging.DEBUG), logging.ERROR))
        lowest = logging.DEBUG if self.files else self.level
        logging.getLogger("skytool").setLevel(lowest)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, but none of astropy's, whose logger prints them itself.

        What is read several times says the same each time: a line stands there once in a run,
        unless it is an error.
        """
        line = (record.levelno, self.format(record))
        if record.name == "astropy" or line in self.said:
            return
        if record.levelno < logging.ERROR:
            self.said.add(line)
        click.echo(("\r\x1b[K" if self.has_bar else "") + line[1], err=True)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        """Log a Python warning, the same text once in a run."""
        text = one_line(message)
        if (category, text) in self.seen:
            return
        self.seen.add((category, text))
        self.unreported.append(text)
        name = "skytool" if issubclass(category, SkytoolWarning) else category.__name__
        logging.getLogger(name).warning("%s", text)


_console = _Console()


@contextmanager
def console() -> Iterator[None]:
    """Send log records and Python warnings to stderr while the block runs."""
    root = logging.getLogger()
    ours = logging.getLogger("skytool")
    level = ours.level
    _console.reset()
    root.addHandler(_console)
    _console.apply()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _console.show_warning
            warnings.simplefilter("always", SkytoolWarning)
            yield
    finally:
        for handler in [_console, *_console.files]:
            root.removeHandler(handler)
        for handler in _console.files:
            handler.close()
        _console.reset()
        ours.setLevel(level)


def show_tracebacks() -> bool:
    """Return whether the user asked for the traceback of an expected failure (``-vv``)."""
    return _console.verbose > 1


def is_verbose() -> bool:
    """Return whether the user gave ``-v``."""
    return _console.verbose > _console.quiet


def is_quiet() -> bool:
    """Return whether the user gave ``-q``."""
    return _console.quiet > _console.verbose


def one_line(message: Warning | str) -> str:
    """Return the text of a warning without line breaks."""
    return " ".join(str(message).split())


def take_warnings() -> list[str]:
    """Return what was warned of since this was asked last, each text once in a run."""
    taken, _console.unreported = _console.unreported, []
    return taken


@contextmanager
def warnings_as_errors() -> Iterator[None]:
    """Raise what would be shown as a warning, and the first that was shown already.

    Raises
    ------
    SkytoolWarning
        With the text of the warning, whoever gave it.
    """
    if _console.unreported:
        raise SkytoolWarning(_console.unreported[0])

    def refuse(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        raise SkytoolWarning(one_line(message))

    with warnings.catch_warnings():
        warnings.showwarning = refuse
        warnings.simplefilter("error", SkytoolWarning)  # which workers are told of
        yield


def make_way_for_bar(*, shown: bool) -> None:
    """Clear the line of a progress bar before each log line, from here on or no longer."""
    _console.has_bar = shown


def failure(text: str, *, exc_info: BaseException | None = None) -> None:
    """Print the one line that says why the run failed."""
    logging.getLogger("skytool").error("%s", text, extra={"failure": True}, exc_info=exc_info)


def _count(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if ctx.resilient_parsing or not value:
        return
    if param.name == "verbose":
        _console.verbose += value
    else:
        _console.quiet += value
    _console.apply()


def _open_log(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if ctx.resilient_parsing or value is None:
        return
    hint = "Choose another --log-file."
    try:
        if value.is_file() and _is_fits(value):
            raise OutputError(f"{value} is a FITS file, and no log.", hint=hint)
        handler = logging.FileHandler(value, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{value}: {error.strerror}.", hint=hint) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    _console.files.append(handler)
    _console.apply()


def _is_fits(path: Path) -> bool:
    """Return True for a file that lines of a log would damage: an input named by mistake."""
    with path.open("rb") as file:
        return file.read(9) == b"SIMPLE  ="


def verbosity_options() -> list[click.Parameter]:
    """Return ``-v``, ``-q`` and ``--log-file``, which the group and every command accept."""
    return [
        SectionOption(
            ["-v", "--verbose"],
            section=RUNNING,
            count=True,
            is_eager=True,
            expose_value=False,
            callback=_count,
            show_default=False,
            help="Say more; twice also the traceback of an error.",
        ),
        SectionOption(
            ["-q", "--quiet"],
            section=RUNNING,
            count=True,
            is_eager=True,
            expose_value=False,
            callback=_count,
            show_default=False,
            help="Say less; twice nothing but errors.",
        ),
        SectionOption(
            ["--log-file"],
            section=RUNNING,
            type=click.Path(dir_okay=False, path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=_open_log,
            metavar="FILE",
            help="Append all log lines to this file, with the time of each.",
        ),
    ]
