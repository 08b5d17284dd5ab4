"""Every failure that a user can meet, with its exit status.

Raise one of these where the input, the data or the file system is at fault; the command line
prints it as one line and exits with `SkytoolError.exit_code`. A mistake of the program (a wrong
shape passed between functions of ours) stays a `ValueError` or `TypeError`, shows its traceback
and exits with status 1. Usage errors are click's own, status 2.
"""

from typing import ClassVar


class SkytoolError(Exception):
    """A failure the user can act on, printed as one line without a traceback.

    Parameters
    ----------
    message : str
        One sentence that names the file and the value at fault.
    hint : str
        One sentence that says what to do about it.
    **facts : str or float
        The offending values, for reports.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **facts: str | float) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the same parts, so that a worker process can raise it."""
        return _rebuild, (type(self), self.message, self.hint, self.facts)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


def _rebuild(
    kind: type[SkytoolError], message: str, hint: str, facts: dict[str, str | float]
) -> SkytoolError:
    return kind(message, hint=hint, **facts)


class InputError(SkytoolError):
    """A file that is missing, unreadable, malformed or of no known layout (status 3)."""

    exit_code = 3


class OutputError(SkytoolError):
    """A file that exists already or cannot be written (status 3)."""

    exit_code = 3


class IncompatibleError(SkytoolError):
    """Inputs that do not fit together, or lack what the stage needs (status 4)."""

    exit_code = 4


class AlgorithmError(SkytoolError):
    """Readable, compatible data on which the method fails (status 5)."""

    exit_code = 5


class NothingToDoError(SkytoolError):
    """No overlap, no usable input, too little coverage: nothing is written (status 6)."""

    exit_code = 6


class SkytoolWarning(UserWarning):
    """Something the user should know; the command line shows it as a log line."""
