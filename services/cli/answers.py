"""An answer in a terminal: the text with its markers, then what the markers stand for."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from rich.padding import Padding
from rich.text import Text

from services.cli.answer_progress import AnswerProgress
from services.cli.answer_stream import StreamEvent
from services.cli.terminal import err, one_line, out, printable, show
from services.cli.wrapping import Wrapping

# Longer lines are hard to read.
MOST_COLUMNS: Final = 100
RESTARTED = "(the answer begins again)"
NO_ANSWER = "No answer found in the documents."


async def print_answer_as_it_comes(events: AsyncIterator[StreamEvent], *, verbose: bool) -> None:
    """Print the text of an answer while it is written, then its sources."""
    text, progress = _LiveText(), AnswerProgress(err())
    try:
        async for event in events:
            progress.take(event)
            if event.type == "delta":
                text.add(str(event.data.get("text", "")))
            elif event.type == "step" and event.data.get("kind") == "restarted":
                text.restart()
            elif event.type == "done":
                text.end(event.data)
                _print_sources(event.data, verbose=verbose)
    finally:
        progress.end()
        text.break_line()


class _LiveText:
    """What was printed of an answer that is not yet whole."""

    def __init__(self) -> None:
        self._printed = ""
        self._in_line = False
        console = out()
        # What a program reads, or a file holds, has the lines of the answer itself.
        self._wrapping = Wrapping(min(console.width, MOST_COLUMNS)) if console.is_terminal else None

    def add(self, piece: str) -> None:
        """Print a piece at once."""
        if not self._printed:
            piece = piece.lstrip()
        shown = printable(piece)
        self._write(shown if self._wrapping is None else self._wrapping.feed(shown))
        self._printed += piece

    def restart(self) -> None:
        """Say that what was printed does not count."""
        if self._printed:
            self.break_line()
            err().print(RESTARTED, style="dim")
        self._printed = ""

    def end(self, reply: dict[str, Any]) -> None:
        """Complete the text of the whole answer, whatever came of it before."""
        whole = str(reply.get("answer") or "").strip()
        if not reply.get("answered") and not self._printed:
            whole = NO_ANSWER
        if not whole.startswith(self._printed.rstrip()):
            self.restart()
        self.add(whole[len(self._printed) :])
        self.break_line()

    def break_line(self) -> None:
        """Begin a new line, unless one has just begun."""
        if self._wrapping is not None:
            self._write(self._wrapping.rest())
            self._wrapping = Wrapping(min(out().width, MOST_COLUMNS))
        if self._in_line:
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._in_line = not text.endswith("\n")


def _print_sources(reply: dict[str, Any], *, verbose: bool) -> None:
    if reply.get("cached"):
        show("(cached)")
    if reply.get("answered") and reply.get("citations"):
        show("\nSources")
        for citation in reply["citations"]:
            _print_citation(citation)
    if verbose:
        show("")
        for line in _steps(reply):
            show(line, soft_wrap=True)
    if conversation := reply.get("conversation_id"):
        show(f"\nGo on with --conversation {one_line(conversation)}")


def _print_citation(citation: dict[str, Any]) -> None:
    name = one_line(citation["document_id"])
    title = one_line(citation.get("title") or name)
    where = one_line(citation.get("uri") or ("" if title == name else name))
    show(Text.assemble((f"[{citation['n']}]", "bold"), f" {title}", (f"  {where}" if where else "", "dim")))
    quote = Padding(Text(f"“{one_line(citation['quote'], 400)}”", style="italic"), (0, 0, 0, 4))
    show(quote, most_columns=MOST_COLUMNS)


def _steps(reply: dict[str, Any]) -> Iterator[str]:
    for number, step in enumerate(reply.get("steps", []), start=1):
        name = step.get("tool") or step.get("name") or step.get("kind") or "step"
        rest = {key: value for key, value in step.items() if key not in ("tool", "name", "kind", "n")}
        yield f"{number}. {one_line(name)} {one_line(json.dumps(rest, ensure_ascii=False), 400)}"
    usage = "".join(f", {one_line(name)} {value:g}" for name, value in (reply.get("usage") or {}).items())
    cached = "cached, " if reply.get("cached") else ""
    yield f"{cached}trace {one_line(reply.get('trace_id', '-'))}{usage}"
