"""How `rag ingest` shows its progress: a bar on a terminal, a line every few seconds elsewhere, events for programs."""

import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from services.cli.tally import Failure, Tally
from services.cli.terminal import err, print_json

LINE_INTERVAL_SECONDS: Final = 5.0


class View(Protocol):
    """Shows a tally whenever it changed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, tally: Tally) -> None:
        """Show the counts."""


class BarView:
    """A bar with the counts, the rate and the time left."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rest]}"),
            TimeRemainingColumn(compact=True),
            console=err(),
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("", total=total, rest="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, tally: Tally) -> None:
        """Show the counts."""
        failed = f", {tally.failed} failed" if tally.failed else ""
        rest = f"documents{failed}, {tally.documents_per_second:.1f}/s"
        self._progress.update(self._task, completed=tally.settled, total=max(tally.total, tally.settled), rest=rest)


class LineView:
    """A line of counts on standard error every few seconds."""

    def __init__(self, interval_seconds: float = LINE_INTERVAL_SECONDS) -> None:
        self._console = err()
        self._interval_seconds = interval_seconds
        self._next = time.monotonic() + interval_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, tally: Tally) -> None:
        """Show the counts, if the last line is long enough ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._interval_seconds
        rate = f"{tally.documents_per_second:.1f} documents/s"
        self._console.print(f"{tally.indexed} of {tally.total} indexed, {tally.failed} failed, {rate}")


class SilentView(LineView):
    """Shows nothing: programs get an event for every document."""

    def show(self, tally: Tally) -> None:
        """Show nothing."""


class Reporter:
    """Counts what becomes of the documents, and shows it."""

    def __init__(self, tally: Tally, view: View, *, as_json: bool) -> None:
        self._tally = tally
        self._view = view
        self._as_json = as_json

    def accepted(self, count: int) -> None:
        """Documents are durably taken."""
        self._tally.accepted += count
        if self._as_json:
            print_json({"event": "accepted", "documents": count, "total": self._tally.accepted})
        self._view.show(self._tally)

    def indexed(self, document_id: str) -> None:
        """A document can be found."""
        self._tally.indexed += 1
        if self._as_json:
            print_json({"event": "document", "id": document_id, "status": "indexed"})
        self._view.show(self._tally)

    def failed(self, failure: Failure) -> None:
        """A document did not get in."""
        self._tally.failures.append(failure)
        if self._as_json:
            error = {"code": failure.code, "message": failure.message}
            print_json({"event": "document", "id": failure.document_id, "status": "failed", "error": error})
        self._view.show(self._tally)


def view_for(total: int, *, as_json: bool) -> View:
    """Return the view that suits who is watching."""
    if as_json:
        return SilentView()
    return BarView(total) if err().is_terminal else LineView()
