"""Search results in a terminal: where the words are, not just that they are somewhere."""

import re
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from services.cli.terminal import one_line, show

SNIPPET_CHARACTERS: Final = 240
LEAD_CHARACTERS: Final = 60
# Shorter words are in every text, and marking them hides the others.
MIN_WORD_CHARACTERS: Final = 3
MATCH_STYLE: Final = "bold yellow"


def print_hits(query: str, reply: dict[str, Any]) -> None:
    """Print a search reply as a table."""
    hits = reply.get("hits", [])
    if not hits:
        show("Nothing found.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 1, 0), expand=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("document", overflow="fold", ratio=1)
    table.add_column("passage", overflow="fold", ratio=3)
    for rank, hit in enumerate(hits, start=1):
        table.add_row(str(rank), f"{hit['score']:.3f}", _document(hit), snippet(hit["text"], query))
    show(table)
    if reply.get("reranked") is False:
        show("Not reranked: its time was spent before it had an order.")


def snippet(text: str, query: str) -> Text:
    """Return the part of a passage around the first word of the query, with all of its words marked."""
    flat = one_line(text, len(text) + 1)
    words = _matching(query)
    first = words.search(flat) if words else None
    start = _word_start(flat, max(0, first.start() - LEAD_CHARACTERS)) if first else 0
    part = ("…" if start else "") + one_line(flat[start:], SNIPPET_CHARACTERS)
    shown = Text(part)
    if words:
        for match in words.finditer(part):
            shown.stylize(MATCH_STYLE, *match.span())
    return shown


def _document(hit: dict[str, Any]) -> Text:
    name = one_line(hit["document_id"], 120)
    title = one_line(hit.get("title") or "", 120)
    page = f" p. {hit['page']}" if hit.get("page") else ""
    if not title or title == name:
        return Text(name + page)
    return Text.assemble(title + page, "\n", (name, "dim"))


def _matching(query: str) -> re.Pattern[str] | None:
    words = [re.escape(word) for word in re.findall(r"\w+", query) if len(word) >= MIN_WORD_CHARACTERS]
    return re.compile(rf"\b(?:{'|'.join(words)})\w*", re.IGNORECASE) if words else None


def _word_start(text: str, place: int) -> int:
    return text.find(" ", place) + 1 if place else 0
