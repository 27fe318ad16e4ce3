"""The audit in a terminal."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.table import Table

from services.cli.asking import read_pages
from services.cli.terminal import one_line, show
from shared.api_keys import KEY_MARK

PATH: Final = "/v1/admin/audit"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


def read_audit(url: str, wanted: Mapping[str, str | None], limit: int) -> dict[str, Any]:
    """Return the newest `limit` entries as one page, however many pages the gateway makes of them."""
    given = {name: value for name, value in wanted.items() if value is not None}
    if "actor" in given:
        # Whoever pastes a prefix or a whole key means its id; the rest must not travel.
        given["actor"] = given["actor"].removeprefix(KEY_MARK).partition("_")[0]
    return read_pages(url, PATH, given, limit)


def print_audit(page: dict[str, Any]) -> None:
    """Print a page of entries as a table."""
    if not page["items"]:
        show("Nothing happened.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("when", "action", "actor", "what", "status", "from"):
        table.add_column(name, overflow="fold", justify="right" if name == "status" else "left")
    for entry in page["items"]:
        table.add_row(
            _time(entry["at"]),
            one_line(entry["action"]),
            one_line(entry.get("actor") or "-"),
            _what(entry),
            str(entry.get("status") or ""),
            one_line(entry.get("address") or ""),
        )
    show(table)
    if page["next_cursor"] is not None:
        show("There are more; --limit shows them.")


def _what(entry: Mapping[str, Any]) -> str:
    """Return what it was done to; for what failed, why."""
    target = dict(entry["target"])
    path = _PARAMETER.sub(lambda name: str(target.pop(name[1], name[0])), entry.get("route") or "")
    rest = [f"{name}={value}" for name, value in target.items()]
    return one_line(" ".join(part for part in (entry.get("method"), path, *rest, entry.get("reason")) if part))


def _time(value: str) -> str:
    try:
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return one_line(value)
