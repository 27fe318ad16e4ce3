"""What a question waits for, while there is no word of its answer yet."""

from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from services.cli.answer_stream import StreamEvent
from services.cli.terminal import one_line

SEARCHING = "Searching"
READING = "Reading what was found"
THINKING = "Thinking"


class AnswerProgress:
    """Shows on a terminal what is done for an answer, and the steps of an agent as they end; elsewhere nothing."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._status = console.status(SEARCHING, spinner="dots" if console.encoding.startswith("utf") else "line")
            self._status.start()

    def take(self, event: StreamEvent) -> None:
        """Hear of an event of the answer."""
        if self._status is None:
            return
        if event.type == "retrieval":
            self._status.update(READING)
        elif event.type == "step" and event.data.get("kind") in ("llm", "tool"):
            self._tell(event.data)
        elif event.type in ("delta", "done", "error"):
            self.end()

    def end(self) -> None:
        """Take away what is shown."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _tell(self, step: dict[str, Any]) -> None:
        if step["kind"] == "tool":
            took = f"{step.get('duration_ms', 0):.0f} ms"
            line = f"{one_line(step.get('tool', '?'))} {one_line(step.get('arguments', ''), 80)}, {took}"
            failed = bool(step.get("failed"))
            self._console.print(Text(("✗ " if failed else "· ") + line, style="red" if failed else "dim"))
        if self._status is not None:
            self._status.update(THINKING)
