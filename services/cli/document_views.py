"""Documents in a terminal."""

import asyncio
import json
from datetime import datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from services.cli.client import Gateway
from services.cli.terminal import one_line, show

PAGE_SIZE: Final = 200
STATUS_STYLES: Final = {"indexed": "green", "failed": "red", "deleted": "dim"}


def list_documents(url: str, collection: str | None, status: str | None, limit: int) -> dict[str, Any]:
    """Return the first `limit` documents as one page, however many pages the gateway makes of them."""

    async def collect() -> dict[str, Any]:
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        async with Gateway(url) as gateway:
            while True:
                params = {"collection": collection, "status": status, "cursor": cursor}
                wanted = min(PAGE_SIZE, limit - len(items))
                page = await gateway.get("/v1/documents", {**params, "limit": wanted})
                items += page["items"]
                cursor = page.get("next_cursor")
                if cursor is None or len(items) >= limit:
                    return {"items": items, "next_cursor": cursor}

    return asyncio.run(collect())


def print_documents(page: dict[str, Any]) -> None:
    """Print a page of documents as a table."""
    if not page["items"]:
        show("No documents.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("document", "status", "collection", "chunks", "updated"):
        table.add_column(name, overflow="fold", justify="right" if name == "chunks" else "left")
    for view in page["items"]:
        updated = _time(view.get("updated_at"))
        table.add_row(one_line(view["id"]), _status(view), one_line(view["collection"]), _chunks(view), updated)
    show(table)
    if page["next_cursor"] is not None:
        show("There are more; --limit shows them.")


def print_document(view: dict[str, Any]) -> None:
    """Print what is known of one document."""
    rows: dict[str, str | Text] = {
        "id": one_line(view["id"], 300),
        "status": _status(view),
        "error": _error(view),
        "title": one_line(view.get("title") or ""),
        "uri": one_line(view.get("uri") or "", 500),
        "collection": one_line(view["collection"]),
        "revision": str(view.get("revision", "")),
        "chunks": _chunks(view),
        "created": _time(view.get("created_at")),
        "updated": _time(view.get("updated_at")),
        "metadata": one_line(json.dumps(view.get("metadata") or {}, ensure_ascii=False), 2_000),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    show(table)


def _status(view: dict[str, Any]) -> Text:
    status = one_line(view["status"])
    return Text(status, style=STATUS_STYLES.get(status, "yellow"))


def _error(view: dict[str, Any]) -> str:
    error = view.get("error")
    return f"{one_line(error.get('code'))}: {one_line(error.get('message'), 500)}" if error else ""


def _chunks(view: dict[str, Any]) -> str:
    counts = view.get("chunks") or {}
    return f"{counts.get('indexed', 0)}/{counts.get('total', 0)}"


def _time(value: str | None) -> str:
    if not value:
        return ""
    try:
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return one_line(value)
