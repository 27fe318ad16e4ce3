"""What database and index differ in, and that repairing it ends the differences without harm to what is right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.reconciliation import IndexFence, StoredRevision
from services.persistence.comparison import (
    Difference,
    Recorded,
    compare,
    fence_differences,
    is_orphan,
    wanted_fence,
)

RECORDED = 100


def document(name: str = "a", revision: int = 5, **fields: object) -> Recorded:
    usual = {"deleted": False, "visible_revision": revision, "visible_chunks": 3}
    return Recorded("acme", name, revision, **{**usual, **fields})  # type: ignore[arg-type]


def stored(name: str = "a", revision: int = 5, points: int = 3) -> StoredRevision:
    return StoredRevision(tenant="acme", document_id=name, revision=revision, points=points)


def differences(documents: Sequence[Recorded], entries: Iterable[StoredRevision]) -> list[Difference]:
    known = {each.key: each for each in documents}
    return list(compare(documents, entries, known, recorded=RECORDED))


@pytest.mark.parametrize(
    ("entry", "known", "orphan"),
    [
        (stored(revision=4), document(), True),
        (stored(revision=5), document(), False),
        (stored(revision=6), document(), False),
        (stored(revision=4), document(visible_revision=4), False),
        (stored(revision=3), document(visible_revision=4), True),
        (stored(revision=5), document(visible_revision=4), False),
        (stored(revision=4), document(revision=5, deleted=True, visible_revision=0, visible_chunks=0), True),
        (stored(revision=6), document(revision=5, deleted=True, visible_revision=0, visible_chunks=0), False),
        (stored(revision=4), document(revision=0, visible_revision=0, visible_chunks=0, ahead=9), False),
        (stored(revision=RECORDED), None, True),
        (stored(revision=RECORDED + 1), None, False),
    ],
    ids=[
        "outdated",
        "shown",
        "newer than what intake has seen",
        "the last good one of a document whose update failed",
        "older than the last good one",
        "the present one while the last good one is shown",
        "of a deleted document",
        "of a document that comes back",
        "of a document of which intake has seen nothing",
        "of nobody",
        "of a message that intake has not seen",
    ],
)
def test_an_orphan_is_what_nobody_will_show_or_remove(
    entry: StoredRevision, known: Recorded | None, orphan: bool
) -> None:
    assert is_orphan(entry, known, RECORDED) is orphan


def test_missing_and_surplus_points_are_told_apart_from_equal_ones() -> None:
    documents = [document("a"), document("b", 6), document("c", 7), document("d", 8)]
    found = differences(documents, [stored("a"), stored("b", 6, 2), stored("c", 7, 4)])

    assert [(each.kind, each.document_id, each.expected, each.found) for each in found] == [
        ("lost", "b", 3, 2),
        ("surplus", "c", 3, 4),
        ("lost", "d", 3, 0),
    ]


def test_a_fence_must_show_what_is_shown_and_hide_what_is_deleted() -> None:
    shown, gone = document("a"), document("b", 6, deleted=True, visible_revision=0, visible_chunks=0)
    wanted = [fence for each in (shown, gone) if (fence := wanted_fence(each))]

    assert [(fence.visible, fence.floor) for fence in wanted] == [(5, 0), (0, 6)]
    assert wanted_fence(document(visible_revision=0)) is None
    behind = [IndexFence(tenant="acme", document_id="b", floor=2)]
    [found] = fence_differences(wanted, behind)
    assert (found.document_id, found.expected, found.found, found.fence) == ("b", 6, 2, wanted[1])


@dataclass(frozen=True)
class World:
    """What a database and an index say."""

    documents: tuple[Recorded, ...]
    points: tuple[StoredRevision, ...]

    def differences(self) -> list[Difference]:
        return differences(self.documents, self.points)

    def repaired(self) -> "World":
        found = self.differences()
        gone = {(each.document_id, each.revision) for each in found if each.kind == "orphan"}
        left = {each.document_id: each.found for each in found if each.kind in ("lost", "surplus")}
        documents = tuple(
            replace(
                each,
                visible_chunks=left.get(each.document_id, each.visible_chunks),
                visible_revision=each.visible_revision if left.get(each.document_id, 1) else 0,
            )
            for each in self.documents
        )
        points = tuple(each for each in self.points if (each.document_id, each.revision) not in gone)
        return World(documents, points)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw up to three documents and any points of any revisions, also of a document that nobody knows."""
    documents = []
    for name in draw(st.sets(st.sampled_from("abc"))):
        revision = draw(st.integers(1, 9))
        deleted = draw(st.booleans())
        visible = 0 if deleted else draw(st.integers(0, revision))
        chunks = draw(st.integers(1, 4)) if visible else 0
        ahead = draw(st.sampled_from([0, revision + 2]))
        documents.append(Recorded("acme", name, revision, deleted, visible, chunks, ahead))
    owners = st.tuples(st.sampled_from("abcd"), st.sampled_from([*range(1, 12), RECORDED + 1]))
    points = draw(st.dictionaries(owners, st.integers(1, 5), max_size=12))
    return World(tuple(documents), tuple(stored(*owner, number) for owner, number in points.items()))


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_after_the_repairs_nothing_differs(world: World) -> None:
    """INVARIANT: database and index come to agree; a difference that returned would be repaired for ever."""
    assert world.repaired().differences() == []


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_no_repair_takes_what_is_shown_or_may_still_come(world: World) -> None:
    """INVARIANT: a repair never loses a document."""
    known = {each.document_id: each for each in world.documents}
    kept = {(each.document_id, each.revision) for each in world.repaired().points}
    for entry in world.points:
        owner = known.get(entry.document_id)
        shown = owner is not None and entry.revision == owner.visible_revision
        to_come = entry.revision > (owner.revision if owner else RECORDED)
        if shown or to_come:
            assert (entry.document_id, entry.revision) in kept
