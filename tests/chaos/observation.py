"""What a platform says and holds in the end: its API, its database and its index, each read on its own."""

import base64
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import qdrant_edge as engine

from services.retriever.payload import CHUNK
from tests.chaos.plan import COLLECTION, Plan
from tests.chaos.queries import shown_editions

PAGE: Final = 500
SCROLL: Final = 1_000
SEARCHED_TOP_K: Final = 50
_SENTENCE: Final = re.compile(r"of (\S+) in edition e(\d+) line n(\d+)\.")


@dataclass(frozen=True, slots=True)
class Row:
    """A document in the database."""

    status: str | None
    revision: int
    chunks: int
    chunks_indexed: int
    visible_revision: int
    visible_chunks: int
    waits: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk in the index, and which (document, edition, line) its text holds."""

    document_id: str
    revision: int
    ordinal: int
    lines: frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as the API tells it; `name` is the document whose poison it is, by its payload."""

    seq: int
    consumer: str
    code: str
    document_id: str | None
    stream_sequence: int
    name: str | None


@dataclass(slots=True)
class Observation:
    """Everything that is judged.

    `searched` has the editions that a search for a document's own words shows of it, `stored` the number of
    messages in each stream; `upload_bytes` is what the bucket of large payloads still takes.
    """

    views: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    searched: dict[str, set[int]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    reconciliation: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    stored: dict[str, int] = field(default_factory=dict)
    upload_bytes: int = 0


def ask_api(http: httpx.Client, plan: Plan, found: Observation) -> None:
    """Add what the API says of every document of the plan, and whatever else it lists."""
    for name in plan.histories:
        reply = http.get(f"/v1/documents/{name}")
        found.views[name] = reply.json() if reply.status_code == 200 else {"status": f"{reply.status_code}"}
        found.searched[name] = _searched(http, name)
    found.listed = {each["id"] for each in _pages(http, "/v1/documents")}
    found.letters = [_letter(http, each["seq"], plan) for each in _pages(http, "/v1/admin/dead-letters")]


def _searched(http: httpx.Client, name: str) -> set[int]:
    """Search for the one word that only this document has."""
    body = {"query": name, "collection": COLLECTION, "top_k": SEARCHED_TOP_K, "mode": "sparse"}
    reply = http.post("/v1/search", json=body)
    reply.raise_for_status()
    return shown_editions(reply.json()["hits"]).get(name, set())


def _pages(http: httpx.Client, path: str) -> Iterable[dict[str, Any]]:
    cursor = None
    while True:
        reply = http.get(path, params={"limit": PAGE, **({"cursor": cursor} if cursor else {})})
        reply.raise_for_status()
        page = reply.json()
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _letter(http: httpx.Client, seq: int, plan: Plan) -> Letter:
    letter = http.get(f"/v1/admin/dead-letters/{seq}").raise_for_status().json()
    payload = json.dumps(letter["payload"])
    text = _decoded(letter["payload"]) if letter["payload"]["encoding"] == "base64" else payload
    name = letter["document_id"] or next((each for each in plan.histories if each in text), None)
    return Letter(seq, letter["consumer"], letter["code"], letter["document_id"], letter["stream_sequence"], name)


def _decoded(payload: Mapping[str, Any]) -> str:
    return base64.b64decode(payload["value"]).decode(errors="replace")


def read_database(data: Path) -> dict[str, Row]:
    """Return the rows of a stopped platform's SQLite database."""
    connection = sqlite3.connect(f"file:{data / 'rag.db'}?mode=ro", uri=True)
    try:
        rows: list[tuple[Any, ...]] = connection.execute(
            "SELECT document_id, status, revision, chunks, chunks_indexed, visible_revision, visible_chunks, ahead"
            " FROM documents"
        ).fetchall()
    finally:
        connection.close()
    return {
        name: Row(status, revision, chunks, indexed, visible, shown, waits=ahead not in (None, "null"))
        for name, status, revision, chunks, indexed, visible, shown, ahead in rows
    }


def read_index(data: Path) -> list[Point]:
    """Return every chunk of a stopped platform's index, through the engine itself."""
    shard = engine.EdgeShard.load(str(data / "index" / "shard"))
    found: list[Point] = []
    offset = None
    while True:
        records, offset = shard.scroll(engine.ScrollRequest(offset=offset, limit=SCROLL, with_payload=True))
        found += [_point(record.payload or {}) for record in records if (record.payload or {}).get("kind") == CHUNK]
        if offset is None:
            break
    shard.close()
    return found


def _point(payload: Mapping[str, Any]) -> Point:
    lines = frozenset((name, int(edition), int(line)) for name, edition, line in _SENTENCE.findall(payload["text"]))
    return Point(payload["document_id"], payload["revision"], payload["ordinal"], lines)
