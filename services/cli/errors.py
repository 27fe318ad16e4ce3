"""What ends a command: one line for the person at the keyboard, and the exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


class CommandError(Exception):
    """The command can't do what was asked; the message says what is wrong, with what, and what to do."""

    exit_code: ClassVar[int] = EXIT_FAILURE


class UsageProblem(CommandError):
    """The command line itself asks for something that can't be."""

    exit_code = EXIT_USAGE


@contextmanager
def first_of_many() -> Iterator[None]:
    """Raise the first of the errors that tasks beside one another ended with, instead of the group of all."""
    try:
        yield
    except BaseExceptionGroup as group:
        # `except*` would put it into a group again before Python 3.11.4.
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
