"""Whether what is left is exactly what was accepted: nothing lost, nothing twice, nothing left behind."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.topology import STREAMS, Retention
from tests.chaos.ledger import Accepted, Ledger
from tests.chaos.observation import Letter, Observation, Point, Row
from tests.chaos.plan import Ending, Plan


class Wrong(StrEnum):
    """What can be wrong; every one of them must come out as zero."""

    LOSS = "loss"
    DUPLICATE = "duplicate"
    ORPHAN = "orphan"
    STATE = "wrong state"
    TEXT = "wrong text"
    SEARCH = "wrong search"
    LETTER = "wrong dead letter"
    RECONCILIATION = "difference for the reconciler"
    NOT_TAKEN = "write not taken"
    UNKNOWN = "document that nobody sent"
    QUEUED = "message left in a queue"


_STATUS: Final[Mapping[Ending, str]] = {
    Ending.INDEXED: "indexed",
    Ending.DELETED: "deleted",
    Ending.FAILED: "failed",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and of which document."""

    fault: Wrong
    document_id: str
    why: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.document_id}: {self.why}"


def judge(plan: Plan, ledger: Ledger, seen: Observation) -> list[Finding]:
    """Return everything that is wrong; an empty list is the only good verdict."""
    points: defaultdict[str, list[Point]] = defaultdict(list)
    for point in seen.points:
        points[point.document_id].append(point)
    found = [*_not_taken(plan, ledger), *_unknown(plan, ledger, seen), *_letters(ledger, seen.letters)]
    for name, accepted in ledger.endings().items():
        if accepted.write.ending is not Ending.NAMELESS:
            found += _document(name, accepted, seen, points[name])
    found += [Finding(Wrong.QUEUED, name, f"{count} messages") for name, count in _left_in_queues(seen)]
    if seen.reconciliation.get("counts") != {}:
        found.append(Finding(Wrong.RECONCILIATION, "*", str(seen.reconciliation)))
    return found


def count_by_fault(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how often each kind of fault was found, those that were not included."""
    counts = Counter(finding.fault for finding in findings)
    return {str(fault): counts[fault] for fault in Wrong}


def _left_in_queues(seen: Observation) -> Iterator[tuple[str, int]]:
    """Yield the streams that hold messages which nobody will come for: once all is done they must be empty."""
    for stream in STREAMS:
        if stream.retention is not Retention.LIMITS and seen.stored.get(stream.name, 0):
            yield stream.name, seen.stored[stream.name]


def _not_taken(plan: Plan, ledger: Ledger) -> Iterator[Finding]:
    for text in ledger.refused:
        yield Finding(Wrong.NOT_TAKEN, text.partition(" ")[0], text)
    for key in ledger.missing(plan):
        yield Finding(Wrong.NOT_TAKEN, key, "was never acknowledged")


def _unknown(plan: Plan, ledger: Ledger, seen: Observation) -> Iterator[Finding]:
    named = {name for name, last in ledger.endings().items() if last.write.ending is not Ending.NAMELESS}
    for name in sorted((seen.listed | seen.rows.keys()) - named):
        yield Finding(Wrong.UNKNOWN, name, "is known to the platform")
    for name in sorted({point.document_id for point in seen.points} - named):
        yield Finding(Wrong.ORPHAN, name, "has points")


def _document(name: str, accepted: Accepted, seen: Observation, points: Sequence[Point]) -> Iterator[Finding]:
    yield from _state(name, accepted, seen)
    row = seen.rows.get(name)
    if row is not None:
        yield from _points(name, row, accepted.write.ending, points)
    if accepted.write.ending is Ending.INDEXED:
        yield from _text(name, accepted, points)
    shown = seen.searched.get(name, set())
    expected = {accepted.write.edition} if accepted.write.ending is Ending.INDEXED else set()
    if shown != expected:
        yield Finding(Wrong.SEARCH, name, f"a search shows editions {sorted(shown)}, not {sorted(expected)}")


def _state(name: str, accepted: Accepted, seen: Observation) -> Iterator[Finding]:
    """API and database agree with each other and with what was accepted last."""
    view, row = seen.views.get(name, {}), seen.rows.get(name)
    if row is None:
        yield Finding(Wrong.LOSS, name, f"revision {accepted.revision} is not in the database")
        return
    expected = _STATUS[accepted.write.ending]
    if (view.get("status"), row.status) != (expected, expected):
        yield Finding(
            Wrong.STATE, name, f"API says {view.get('status')}, database {row.status}, expected {expected}: {view}"
        )
    # Only a write that was tried again may lie in the stream once more, under a later revision.
    repeated = accepted.attempts > 1 and row.revision > accepted.revision
    if row.revision != accepted.revision and not repeated:
        yield Finding(Wrong.STATE, name, f"revision {row.revision} in the database, {accepted.revision} was accepted")
    if view.get("revision") != row.revision:
        yield Finding(Wrong.STATE, name, f"API says revision {view.get('revision')}, database {row.revision}")
    if accepted.write.code is not None and (view.get("error") or {}).get("code") != accepted.write.code:
        yield Finding(Wrong.STATE, name, f"failed with {view.get('error')}, expected {accepted.write.code}")
    if row.waits:
        yield Finding(Wrong.STATE, name, "waits for a message that never comes")


def _points(name: str, row: Row, ending: Ending, points: Sequence[Point]) -> Iterator[Finding]:
    """The index holds each chunk of the present revision once, and nothing else."""
    wanted = row.revision if ending is Ending.INDEXED else None
    counts = Counter((point.revision, point.ordinal) for point in points)
    for (revision, ordinal), count in sorted(counts.items()):
        if revision != wanted:
            yield Finding(Wrong.ORPHAN, name, f"chunk {ordinal} of revision {revision}, {wanted} is present")
        elif count > 1:
            yield Finding(Wrong.DUPLICATE, name, f"chunk {ordinal} of revision {revision} is there {count} times")
    stored = {ordinal for revision, ordinal in counts if revision == wanted}
    told = row.chunks if wanted is not None else 0
    if stored != set(range(told)):
        lacking, beyond = sorted(set(range(told)) - stored), sorted(stored - set(range(told)))
        yield Finding(Wrong.LOSS if lacking else Wrong.ORPHAN, name, f"chunks {lacking} lack, {beyond} are too many")
    in_sql = (row.chunks_indexed, row.visible_chunks, row.visible_revision) if wanted is not None else (0, 0, 0)
    expected = (told, told, row.revision) if wanted is not None else (0, row.visible_chunks, row.visible_revision)
    if in_sql != expected:
        yield Finding(Wrong.STATE, name, f"database counts {in_sql}, expected {expected}")


def _text(name: str, accepted: Accepted, points: Sequence[Point]) -> Iterator[Finding]:
    """The index holds every line of the last edition, and none of another one."""
    lines = {line for point in points for line in point.lines}
    expected = {(name, accepted.write.edition, number) for number in range(accepted.write.sentences)}
    if lines != expected:
        lacking, beyond = sorted(expected - lines)[:3], sorted(lines - expected)[:3]
        yield Finding(Wrong.TEXT, name, f"lines {lacking} … lack, {beyond} … are too many")


def _letters(ledger: Ledger, letters: Sequence[Letter]) -> Iterator[Finding]:
    """There is exactly one letter for each poison that was accepted."""
    by_name: defaultdict[str | None, list[Letter]] = defaultdict(list)
    for letter in letters:
        by_name[letter.name].append(letter)
    for accepted in ledger.poison():
        name = accepted.write.document_id
        found = by_name.pop(name, [])
        if not found:
            yield Finding(Wrong.LETTER, name, f"revision {accepted.revision} has no letter")
        for letter in found:
            if letter.code != accepted.write.code:
                yield Finding(Wrong.LETTER, name, f"letter {letter.seq} says {letter.code}, not {accepted.write.code}")
        yield from _surplus(name, accepted, found)
    for surplus in by_name.values():
        for letter in surplus:
            yield Finding(Wrong.LETTER, letter.name or "?", f"letter {letter.seq} ({letter.consumer}, {letter.code})")


def _surplus(name: str, accepted: Accepted, found: Sequence[Letter]) -> Iterator[Finding]:
    per_message = Counter(letter.stream_sequence for letter in found)
    for sequence, count in per_message.items():
        if count > 1:
            yield Finding(Wrong.LETTER, name, f"{count} letters for message {sequence}")
    if len(per_message) > accepted.attempts:
        yield Finding(Wrong.LETTER, name, f"letters for messages {sorted(per_message)}, sent {accepted.attempts} times")
