"""Tells on standard error what an evaluation is at: a bar on a terminal, one line per phase elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from services.cli.terminal import err


class Progress:
    """Shows one phase after the other."""

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """Yield what to call for each of `total` steps."""
        console = err()
        if not console.is_terminal:
            console.print(f"{name} ({total})", soft_wrap=True)
            yield lambda: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=console, transient=True) as bars:
            task = bars.add_task(name, total=total)
            yield lambda: bars.advance(task)
