"""What set-up shows while it works: a bar on a terminal, one line per step elsewhere."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

BAR_CELLS = 30


class Progress:
    """Writes steps to `stream`; `say` prints a line, `step` yields a function that takes the done fraction, 0 to 1."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()

    def say(self, line: str) -> None:
        """Prints one line."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    @contextmanager
    def step(self, label: str) -> Iterator[Callable[[float], None]]:
        """Shows `label` while the block runs."""
        if not self._terminal:
            self.say(label)
            yield lambda _fraction: None
            return
        try:
            self._draw(label, 0.0)
            yield lambda fraction: self._draw(label, fraction)
            self._draw(label, 1.0)
        finally:
            self.say("")

    def _draw(self, label: str, fraction: float) -> None:
        bounded = min(max(fraction, 0.0), 1.0)
        bar = "#" * round(bounded * BAR_CELLS)
        line = f"{label} [{bar:-<{BAR_CELLS}}] {bounded:4.0%}"
        # A line that wraps could not be overwritten by the carriage return.
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r{line[-width:]}")
        self._stream.flush()
