"""What can go wrong in set-up, as one line for the person at the keyboard."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class SetupError(Exception):
    """Set-up cannot go on; the message says what is wrong and what to do, in one line."""


@contextmanager
def one_line_reasons() -> Iterator[None]:
    """Turns what the operating system refuses or never finishes inside the block into SetupError."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{error.cmd[0]} did not end within {error.timeout:.0f} s: run the command again") from error
    except OSError as error:
        raise SetupError(_reason(error)) from error


def _reason(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}: free some space and run the command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write here{where}: run the command as the folder's owner"
    return f"{error.strerror or error}{where}: mend that and run the command again"
