"""Documents for the console's tests, and ways to hand them to it."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import FilePayload, Locator, Page, expect

HOSTILE = '<img src=x onerror="hacked=1"><script>hacked=1</script>'


def new_name(prefix: str = "docs") -> str:
    """Return a name that nothing else has."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def payload(name: str, content: str | bytes, media_type: str = "text/plain") -> FilePayload:
    """Return a file as an input takes it."""
    return {"name": name, "mimeType": media_type, "buffer": content.encode() if isinstance(content, str) else content}


def bring(api: httpx.Client, *documents: dict[str, Any], collection: str) -> list[dict[str, Any]]:
    """Have documents indexed, or failed, and return their receipts."""
    sent = [{"collection": collection, "text": f"Text of {one.get('id')}.", **one} for one in documents]
    reply = api.post("/v1/documents", params={"wait_s": 60}, json={"documents": sent})
    assert reply.status_code == 202, reply.text
    receipts: list[dict[str, Any]] = reply.json()["documents"]
    assert all(receipt["status"] in ("indexed", "failed") for receipt in receipts), reply.text
    return receipts


def open_list(page: Page, **filters: str) -> None:
    """Show the list of documents under filters."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    page.goto(f"/#/documents?{query}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Documents")


def into(page: Page, collection: str) -> None:
    """Choose the collection that files go into."""
    page.get_by_label("into the collection").fill(collection)


def add(page: Page, *files: FilePayload) -> None:
    """Choose files."""
    page.get_by_label("Files to add").set_input_files(list(files))


def drop(page: Page, paths: Sequence[Path]) -> None:
    """Drop files and folders of the disk on the page, as a hand with a mouse does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 640, "y": 300, "data": data})
    session.detach()


def line(page: Page, path: str) -> Locator:
    """Return what the page says of a file that was added."""
    return page.get_by_role("region", name="Added files").get_by_role("listitem").filter(has_text=path)


def row(page: Page, title: str) -> Locator:
    """Return the row of a document in the list."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=title, exact=True))


def found_in(api: httpx.Client, collection: str) -> list[str]:
    """Return the ids of the documents that a search of a collection finds."""
    reply = api.post("/v1/search", json={"query": "text", "collection": collection, "top_k": 50})
    return sorted({hit["document_id"] for hit in reply.json().get("hits", [])})
