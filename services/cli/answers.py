"""An answer in a terminal: the text with its markers, then what the markers stand for."""

import json
from collections.abc import Iterator
from typing import Any

from rich.padding import Padding
from rich.text import Text

from services.cli.terminal import one_line, printable, show

NO_ANSWER = "No answer found in the documents."


def print_answer(reply: dict[str, Any], *, verbose: bool) -> None:
    """Print the reply to a question."""
    if verbose:
        for line in _steps(reply):
            show(line, soft_wrap=True)
    if not reply.get("answered"):
        show(NO_ANSWER)
        return
    show(printable(reply["answer"]).strip(), soft_wrap=True)
    if reply.get("citations"):
        show("\nSources")
    for citation in reply.get("citations", []):
        _print_citation(citation)


def _print_citation(citation: dict[str, Any]) -> None:
    name = one_line(citation["document_id"])
    title = one_line(citation.get("title") or name)
    where = one_line(citation.get("uri") or ("" if title == name else name))
    show(Text.assemble((f"[{citation['n']}]", "bold"), f" {title}", (f"  {where}" if where else "", "dim")))
    show(Padding(Text(f"“{one_line(citation['quote'], 400)}”", style="italic"), (0, 0, 0, 4)))


def _steps(reply: dict[str, Any]) -> Iterator[str]:
    for number, step in enumerate(reply.get("steps", []), start=1):
        name = step.get("tool") or step.get("kind") or "step"
        rest = {key: value for key, value in step.items() if key not in ("tool", "kind", "n")}
        yield f"{number}. {one_line(name)} {one_line(json.dumps(rest, ensure_ascii=False), 400)}"
    usage = "".join(f", {one_line(name)} {value:g}" for name, value in (reply.get("usage") or {}).items())
    cached = "cached, " if reply.get("cached") else ""
    yield f"{cached}trace {one_line(reply.get('trace_id', '-'))}{usage}\n"
