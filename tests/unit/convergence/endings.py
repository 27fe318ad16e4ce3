"""What the loop must have come to once everything is done, told from the messages alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from contracts import subjects
from services.persistence.document import Document
from services.retriever.index import Fence
from tests.unit.convergence.loop import TENANT, Loop, size_of

IN_THE_END: Final = {
    "indexed": subjects.DOCUMENT_INDEXED,
    "failed": subjects.DOCUMENT_FAILED,
    "deleted": subjects.DOCUMENT_DELETED,
}


@dataclass(frozen=True)
class Ending:
    """What became of one document, in every place that knows of it."""

    document: Document
    fence: Fence
    points: frozenset[tuple[int, int]]


def endings(loop: Loop) -> dict[str, Ending]:
    """Return what became of each document."""
    return {document_id: _ending(loop, document_id) for document_id in sorted(_last_writes(loop))}


def check_endings(loop: Loop) -> None:
    """Raise AssertionError where tables, index and facts do not agree with the last write of a document.

    Where the last write failed, a death or a batch that came twice may have left points of revisions before it. Nobody
    is shown them while a complete revision is visible; the next write, or the reconciler, takes them away.
    """
    writes = _last_writes(loop)
    for document_id, ending in endings(loop).items():
        revision, write = writes[document_id]
        expected = _expected_status(loop, document_id, revision, write)
        document = ending.document
        assert (document.revision, document.status) == (revision, expected), f"{revision} is not {expected}: {ending}"
        assert document.ahead is None, f"something is still awaited: {ending}"
        assert (document_id, revision) in _said(loop, IN_THE_END[expected]), f"nobody was told: {ending}"
        _check_visible(ending, _last_delete(loop, document_id))
        _check_points(ending, strict=not loop.disturbed)


def _check_visible(ending: Ending, deleted: int) -> None:
    document, fence = ending.document, ending.fence
    assert fence.floor == deleted, f"deleted as of {deleted}: {ending}"
    hidden = 0 if fence.visible < fence.floor else fence.visible
    assert document.visible_revision == hidden, f"the tables and the fence differ: {ending}"
    assert document.visible_bytes == size_of(hidden), f"another size than the parser's counts: {ending}"
    if document.status == "deleted":
        assert document.visible_revision == 0, f"a deleted document is visible: {ending}"
    elif document.status == "indexed":
        assert document.visible_revision == document.revision, f"the last revision is not visible: {ending}"
        assert document.progress.error is None, f"an error is shown beside a good end: {ending}"
        assert document.visible_chunks == document.progress.chunks, f"chunks were counted wrong: {ending}"


def _check_points(ending: Ending, *, strict: bool) -> None:
    document = ending.document
    wanted = {(document.visible_revision, ordinal) for ordinal in range(document.visible_chunks)}
    assert ending.points >= wanted, f"points are missing: {ending}"
    if document.status != "failed":
        assert ending.points == wanted, f"points were left behind: {ending}"
    elif strict:
        # What there is of the revision that failed waits for a replay.
        strangers = {revision for revision, _ in ending.points} - {document.visible_revision, document.revision}
        assert strangers == set(), f"points of revisions {strangers} were left behind: {ending}"


def _ending(loop: Loop, document_id: str) -> Ending:
    document = loop.ledger.document(TENANT, document_id)
    assert document is not None, f"{document_id} is unknown"
    mine = [point for point in loop.index.points.values() if point.document_id == document_id]
    points = [(point.revision, point.ordinal) for point in mine]
    fence = loop.index.raised.get((TENANT, document_id), Fence(TENANT, document_id))
    return Ending(document, fence, frozenset(points))


def _last_writes(loop: Loop) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the last message about each document, and its revision."""
    found = {}
    for entry in loop.streams.entries.get("INGEST", []):
        write = orjson.loads(entry.payload)
        found[write["id"]] = (entry.sequence, write)
    return found


def _last_delete(loop: Loop, document_id: str) -> int:
    writes = [(entry.sequence, orjson.loads(entry.payload)) for entry in loop.streams.entries["INGEST"]]
    return max((seq for seq, write in writes if (write["id"], write.get("op")) == (document_id, "delete")), default=0)


def _expected_status(loop: Loop, document_id: str, revision: int, write: dict[str, Any]) -> str:
    if write.get("op") == "delete":
        return "deleted"
    if not str(write["text"]).isdigit() or write.get("metadata"):
        return "failed"
    reported = [fact for fact in _facts(loop, subjects.CHUNKS_INDEXED) if _is_about(fact, document_id, revision)]
    return "indexed" if {fact["batch"] for fact in reported} == set(range(int(write["text"]))) else "failed"


def _said(loop: Loop, subject: str) -> set[tuple[str, int]]:
    return {(fact["document_id"], fact["revision"]) for fact in _facts(loop, subject)}


def _facts(loop: Loop, subject: str) -> Sequence[dict[str, Any]]:
    return [orjson.loads(entry.payload) for entry in loop.streams.entries.get("FACTS", []) if entry.subject == subject]


def _is_about(fact: dict[str, Any], document_id: str, revision: int) -> bool:
    return (fact["document_id"], fact["revision"]) == (document_id, revision)
