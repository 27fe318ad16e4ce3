"""A small plan, everything of it acknowledged, and what a platform that did nothing wrong would show of it."""

from dataclasses import replace
from typing import Any

from tests.chaos.ledger import Accepted, Ledger
from tests.chaos.observation import Letter, Observation, Point, Row
from tests.chaos.plan import Ending, Plan, make_plan

SEED = 7
DOCUMENTS = 40
SECONDS = 60.0
LINES_PER_CHUNK = 2


def small_plan() -> Plan:
    """Return a plan in which every ending occurs."""
    return make_plan(SEED, DOCUMENTS, SECONDS)


def acknowledged(plan: Plan) -> Ledger:
    """Return a ledger in which every write was acknowledged at the first try, in the plan's order."""
    ledger = Ledger()
    revision = 0
    for history in plan.histories.values():
        for write in history:
            revision += 1
            ledger.accept(write, revision, 1)
    return ledger


def faultless(ledger: Ledger) -> Observation:
    """Return what must be seen once all of a ledger is done."""
    seen = Observation(reconciliation={"counts": {}})
    for name, last in ledger.endings().items():
        if last.write.ending is not Ending.NAMELESS:
            points = _points(last) if last.write.ending is Ending.INDEXED else []
            seen.points += points
            seen.rows[name] = _row(last, len(points))
            seen.views[name] = _view(last)
            seen.listed.add(name)
            seen.searched[name] = {last.write.edition} if points else set()
    seen.letters = [_letter(number, each) for number, each in enumerate(ledger.poison(), start=1)]
    return seen


def pick(ledger: Ledger, ending: Ending) -> str:
    """Return the first document that ends so."""
    return next(name for name, last in ledger.endings().items() if last.write.ending is ending)


def pick_point(seen: Observation, name: str) -> Point:
    """Return the first point of a document."""
    return next(point for point in seen.points if point.document_id == name)


def change_row(seen: Observation, name: str, **fields: Any) -> None:
    """Have the database say something else of a document."""
    seen.rows[name] = replace(seen.rows[name], **fields)


def _points(last: Accepted) -> list[Point]:
    write = last.write
    lines = [(write.document_id, write.edition, number) for number in range(write.sentences)]
    pieces = [lines[start : start + LINES_PER_CHUNK] for start in range(0, len(lines), LINES_PER_CHUNK)]
    return [Point(write.document_id, last.revision, ordinal, frozenset(piece)) for ordinal, piece in enumerate(pieces)]


def _row(last: Accepted, points: int) -> Row:
    indexed = last.write.ending is Ending.INDEXED
    return Row(
        status=str(last.write.ending),
        revision=last.revision,
        chunks=points,
        chunks_indexed=points,
        visible_revision=last.revision if indexed else 0,
        visible_chunks=points,
        waits=False,
    )


def _view(last: Accepted) -> dict[str, Any]:
    error = {"code": last.write.code, "message": "…"} if last.write.code else None
    return {"status": str(last.write.ending), "revision": last.revision, "error": error}


def _letter(number: int, accepted: Accepted) -> Letter:
    name = accepted.write.document_id
    about = None if accepted.write.ending is Ending.NAMELESS else name
    return Letter(number, "parser", accepted.write.code or "", about, accepted.revision, name)
