"""How `rag reindex` shows where it is: a bar on a terminal, sentences elsewhere, events for programs."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from services.cli.terminal import err, show


class PassView:
    """The bar of one pass; nothing where no terminal is."""

    def __init__(self, number: int, *, as_json: bool) -> None:
        console = err()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(f"pass {number}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("chunks, {task.fields[copied]} copied"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            expand=True,
            disable=as_json or not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, copied=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, looked_at: int, copied: int, *, total: int) -> None:
        """Show the counts."""
        self._progress.update(self._task, completed=looked_at, total=max(total, looked_at), copied=copied)


def say(text: str, *, as_json: bool) -> None:
    """Print a sentence for people."""
    if not as_json:
        show(text, soft_wrap=True)
