"""What ends a command: one line for the person at the keyboard, and the exit code."""

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


def first_error(group: BaseExceptionGroup[CommandError]) -> CommandError:
    """Return the first of the errors that tasks beside one another ended with."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
