"""A command in a terminal of its own, and what it writes there, escape sequences and all."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.settings import PROJECT_ROOT
from tests.servers import child_environment

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]")
COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-8]|9[0-7])(?:;[0-9]+)*m")
COLUMNS, LINES = 80, 40
READ_BYTES = 65_536
PATIENCE_SECONDS = 30.0


@dataclass
class Terminal:
    """The user's side of a terminal."""

    process: subprocess.Popen[bytes]
    master: int
    written: str = ""

    def read_until(self, condition: Callable[[str], bool], seconds: float = PATIENCE_SECONDS) -> str:
        """Return all that was written, once the condition holds for it; AssertionError when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition(self.written):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {seconds:g} s; written: {self.written!r}"
            if not self._read(left):
                break
        assert condition(self.written), f"the command has ended; written: {self.written!r}"
        return self.written

    def read_all(self) -> str:
        """Return all that was written, once the command has ended."""
        while self._read(PATIENCE_SECONDS):
            continue
        self.process.wait(PATIENCE_SECONDS)
        return self.written

    def _read(self, seconds: float) -> bool:
        """Take what is there, waiting for it; False at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            raise AssertionError(f"nothing written for {seconds:g} s; so far: {self.written!r}")
        try:
            piece = os.read(self.master, READ_BYTES)
        except OSError:  # What Linux says when the other side has closed.
            return False
        self.written += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


@contextmanager
def rag_in_terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run a `rag` command in a terminal of 80 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    variables = child_environment(**{"TERM": "xterm-256color", **environment})
    for name in ("COLUMNS", "LINES"):
        variables.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=PROJECT_ROOT,
        env=variables,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def plain(written: str) -> str:
    """Return what was written without its escape sequences."""
    return ESCAPE.sub("", written)


def longest(lines: Sequence[str]) -> int:
    """Return the length of the longest line."""
    return max(map(len, lines), default=0)
