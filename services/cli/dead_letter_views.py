"""Dead letters in a terminal."""

import json
from datetime import datetime
from typing import Any, Final

from rich.table import Table

from services.cli.asking import read_pages
from services.cli.terminal import one_line, printable, show

PATH: Final = "/v1/admin/dead-letters"
MAX_SHOWN_CHARACTERS: Final = 4_000


def read_letters(url: str, wanted: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return the newest `limit` letters as one page, however many pages the gateway makes of them."""
    return read_pages(url, PATH, wanted, limit)


def print_letters(page: dict[str, Any]) -> None:
    """Print a page of letters as a table."""
    if not page["items"]:
        show("No dead letters.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("seq", "stage", "code", "document", "reason", "tries", "died"):
        table.add_column(name, overflow="fold", justify="right" if name in ("seq", "tries") else "left")
    for letter in page["items"]:
        table.add_row(
            str(letter["seq"]),
            one_line(letter["consumer"]),
            one_line(letter["code"]),
            one_line(letter.get("document_id") or "-"),
            one_line(letter["reason"], 80),
            str(letter["deliveries"]),
            _time(letter["created_at"]),
        )
    show(table)
    if page["next_cursor"] is not None:
        show("There are more; --limit shows them.")


def print_letter(letter: dict[str, Any]) -> None:
    """Print all that is known of one letter."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _rows(letter).items():
        if value:
            table.add_row(name, value)
    show(table)
    show("\nheaders")
    for name, value in letter["headers"].items():
        show(f"  {one_line(name)}: {one_line(value, 1_000)}", soft_wrap=True)
    show("\npayload")
    show(_payload(letter["payload"]), soft_wrap=True)


def _rows(letter: dict[str, Any]) -> dict[str, str]:
    where = f"{one_line(letter['stream'])} {letter['stream_sequence']}"
    document = one_line(letter.get("document_id") or "", 300)
    return {
        "seq": str(letter["seq"]),
        "stage": one_line(letter["consumer"]),
        "code": one_line(letter["code"]),
        "reason": one_line(letter["reason"], 1_000),
        "field": one_line(letter.get("field") or ""),
        "error": one_line(letter["error"]),
        "document": f"{document}, revision {letter.get('revision')}" if document else "",
        "subject": one_line(letter["subject"]),
        "message": where,
        "tries": str(letter["deliveries"]),
        "trace": one_line(letter.get("trace_id") or ""),
        "bytes": str(letter.get("size_bytes") or ""),
        "died": _time(letter["created_at"]),
    }


def _payload(payload: dict[str, Any]) -> str:
    if payload["missing"]:
        return "  is no longer in the object store"
    value = payload["value"]
    text = json.dumps(value, ensure_ascii=False, indent=2) if payload["encoding"] == "json" else str(value)
    cut = text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "… (--json shows more)"
    return printable(cut)


def _time(value: str) -> str:
    try:
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return one_line(value)
