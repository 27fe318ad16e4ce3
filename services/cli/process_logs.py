"""Where the output of the child processes goes: the terminal, each line with its process's name, and bounded files.

Nothing here may ever block a child. A terminal may stand still (Ctrl-S, a pager), so a thread of its own writes to it
from a bounded queue; what does not fit is counted and is in the files.
"""

import queue
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from services.cli.terminal import printable

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
MAX_LINE_BYTES: Final = 64 * 1024
MAX_WAITING_LINES: Final = 10_000
LAST_LINES: Final = 20
CLOSE_TIMEOUT_SECONDS: Final = 1.0
_COLOURS: Final = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


class LineWriter:
    """Writes lines to a stream from a thread of its own; never blocks the caller, and drops what does not fit."""

    def __init__(self, stream: TextIO, *, max_waiting: int = MAX_WAITING_LINES) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(max_waiting)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="terminal", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line."""
        if self._dropped and not self._waiting.full():
            self._waiting.put_nowait(f"({self._dropped} lines not shown: this terminal is too slow; see the log files)")
            self._dropped = 0
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is queued, within a second."""
        try:
            self._waiting.put(None, timeout=CLOSE_TIMEOUT_SECONDS)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def _write_all(self) -> None:
        try:
            while (line := self._waiting.get()) is not None:
                self._stream.write(line + "\n")
                if self._waiting.empty():
                    self._stream.flush()
        except (OSError, ValueError):
            # Whoever read the terminal is gone; the services go on, and their files have the lines.
            self._drain()

    def _drain(self) -> None:
        while self._waiting.get() is not None:
            continue


class RotatingFile:
    """A log file that never grows beyond its bound; one older file is kept beside it as `NAME.1`."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._stream: BinaryIO | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        """Append a line; OSError when the disk does not take it."""
        stream = self._stream or self._open()
        if self._size + len(line) >= self._max_bytes:
            stream = self._rotate()
        stream.write(line + b"\n")
        stream.flush()
        self._size += len(line) + 1

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> BinaryIO:
        self._stream = self._path.open("ab")
        self._size = self._stream.tell()
        return self._stream

    def _rotate(self) -> BinaryIO:
        self.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        return self._open()


class ProcessLog:
    """The output of one process, in the terminal and in its file, and its last lines for an error message."""

    def __init__(
        self, name: str, folder: Path, terminal: LineWriter, prefix: str, hidden: tuple[str, ...] = ()
    ) -> None:
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.path = folder / f"{name}.log"
        self._terminal = terminal
        self._prefix = prefix
        self._hidden = hidden
        self._file = RotatingFile(self.path)
        self._partial = b""
        self._file_failed = False

    def feed(self, chunk: bytes) -> None:
        """Take output as it comes, in pieces of any size."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._partial) > MAX_LINE_BYTES:
            self.end()

    def end(self) -> None:
        """Take what is left as a line; the process has ended."""
        if self._partial:
            self._line(self._partial)
            self._partial = b""

    def close(self) -> None:
        """Take what is left, and close the file."""
        self.end()
        self._file.close()

    def _line(self, line: bytes) -> None:
        text = printable(line.decode("utf-8", errors="replace").rstrip("\r"))
        self.last_lines.append(text)
        if not any(part in text for part in self._hidden):
            self._terminal.write(f"{self._prefix} {text}")
        self._keep(line)

    def _keep(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            if not self._file_failed:
                self._terminal.write(f"{self._prefix} (log file {self.path} cannot be written: {error.strerror})")
            self._file_failed = True


def line_prefixes(names: list[str], *, coloured: bool) -> dict[str, str]:
    """Return what stands in front of every line of a process: its name, padded to the longest one."""
    width = max(map(len, names))
    plain = {name: f"{name:<{width}} |" for name in names}
    if not coloured:
        return plain
    return {
        name: f"\x1b[{_COLOURS[place % len(_COLOURS)]}m{text}\x1b[0m"
        for place, (name, text) in enumerate(plain.items())
    }
