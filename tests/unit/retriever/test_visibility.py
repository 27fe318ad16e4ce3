"""Which hits may be shown, and how a search makes up for those that may not."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retriever.index import Fence, FencedHits, Hit, IndexQuery, collection_fence, fence_names
from services.retriever.visibility import search_visible, visible_hits
from tests.unit.retriever.hits import hit


def fence(document_id: str = "a", *, visible: int = 0, floor: int = 0) -> Fence:
    return Fence("acme", document_id, visible, floor)


@pytest.mark.parametrize(
    ("found", "visible", "floor", "shown"),
    [
        ([3, 3], 0, 0, [3, 3]),
        ([3, 5, 3, 5], 0, 0, [3, 3]),
        ([3, 5], 3, 0, [3]),
        ([3, 5], 5, 0, [5]),
        ([3, 3], 5, 0, []),
        ([3], 3, 4, []),
        ([3, 6], 3, 4, [6]),
        ([3, 6, 8], 3, 4, [6]),
        ([3, 6, 8], 6, 4, [6]),
        ([4], 0, 4, [4]),
        ([4], 4, 4, [4]),
    ],
    ids=[
        "first indexing shows what is there",
        "first indexing that is being updated already shows the first",
        "an update in progress shows the complete revision",
        "a complete update shows the new revision",
        "only an outdated revision was found",
        "deleted",
        "deleted and coming back",
        "deleted and coming back twice",
        "deleted, came back, and is being updated",
        "the floor itself may answer",
        "the floor itself is visible",
    ],
)
def test_a_document_shows_one_revision_that_its_fence_allows(
    found: list[int], visible: int, floor: int, shown: list[int]
) -> None:
    hits = [hit("a", revision) for revision in found]

    assert [each.revision for each in visible_hits(hits, {"a": fence(visible=visible, floor=floor)}, 10)] == shown


@pytest.mark.parametrize(
    ("found", "visible", "shown"),
    [
        ([3], 3, []),
        ([3, 8], 3, [8]),
        ([3, 8, 9], 3, [8]),
        ([3, 8, 9], 8, [8]),
        ([6], 0, [6]),
    ],
    ids=[
        "deleted with its collection",
        "deleted and coming back",
        "deleted and coming back twice",
        "came back and is being updated",
        "the delete itself is the first revision that may answer",
    ],
)
def test_a_document_shows_nothing_from_below_the_floor_of_its_collection(
    found: list[int], visible: int, shown: list[int]
) -> None:
    hits = [hit("a", revision) for revision in found]
    fences = {"a": fence(visible=visible), collection_fence("default"): fence(collection_fence("default"), floor=6)}

    assert [each.revision for each in visible_hits(hits, fences, 10)] == shown


def test_a_document_that_moved_out_of_a_deleted_collection_shows_where_it_is_now() -> None:
    hits = [hit("a", 3, collection="old"), hit("a", 5, collection="new"), hit("b", 4, collection="old")]
    fences = {"a": fence(visible=5), collection_fence("old"): fence(collection_fence("old"), floor=6)}

    assert visible_hits(hits, fences, 10) == [hits[1]]


def test_an_update_before_the_first_revision_is_complete_never_goes_back() -> None:
    """INVARIANT: the later write wins. Showing the newest one would show 2, then 1 once that is complete, then 2."""
    first, second = hit("a", 1), hit("a", 2)
    moments = [
        ([first], {}),
        ([first, second], {}),
        ([first, second], {"a": fence(visible=1)}),
        ([first, second], {"a": fence(visible=2)}),
        ([second], {"a": fence(visible=2)}),
    ]

    assert [visible_hits(hits, fences, 10) for hits, fences in moments] == [[first]] * 3 + [[second]] * 2


def test_hits_keep_their_order_and_stop_at_the_limit() -> None:
    hits = [hit("a", 1, 0), hit("b", 4, 0), hit("a", 2, 0), hit("b", 4, 1), hit("a", 2, 1)]

    assert visible_hits(hits, {"a": fence(visible=2)}, 3) == [hits[1], hits[2], hits[3]]


revision_numbers = st.integers(min_value=1, max_value=6)
document_names = st.sampled_from("abc")


@given(
    st.lists(st.builds(hit, document_names, revision_numbers, st.integers(0, 9)), max_size=30),
    st.dictionaries(document_names, st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=3),
)
def test_nothing_shown_breaks_a_fence(hits: list[Hit], numbers: dict[str, tuple[int, int]]) -> None:
    """INVARIANT: no result mixes two revisions of a document, and nothing below a floor answers."""
    fences = {name: fence(name, visible=visible, floor=floor) for name, (visible, floor) in numbers.items()}

    shown = visible_hits(hits, fences, 100)

    revisions: dict[str, set[int]] = {}
    for each in shown:
        revisions.setdefault(each.document_id, set()).add(each.revision)
        assert each.revision >= fences.get(each.document_id, fence()).floor
    assert all(len(found) == 1 for found in revisions.values())


class ScriptedIndex:
    """Answers from a list; `after_search` changes what is stored between reading hits and reading fences."""

    def __init__(self, hits: list[Hit], fences: dict[str, Fence] | None = None) -> None:
        self.hits = hits
        self.stored_fences = fences or {}
        self.after_search: Callable[[], None] = lambda: None
        self.limits: list[int] = []

    async def search_fenced(self, query: IndexQuery) -> FencedHits:
        self.limits.append(query.limit)
        found = self.hits[: query.limit]
        self.after_search()
        names = fence_names(found)
        return FencedHits(found, {name: each for name, each in self.stored_fences.items() if name in names})


def query(limit: int) -> IndexQuery:
    return IndexQuery(tenant="acme", limit=limit, vector=np.ones(2, np.float32))


async def test_a_delete_that_lands_while_the_index_is_searched_is_honoured() -> None:
    """INVARIANT: deleted is gone; fences that are read before the hits would show this document."""
    index = ScriptedIndex([hit("a", 1), hit("b", 1)])
    index.after_search = lambda: index.stored_fences.update(a=fence("a", floor=2))

    assert await search_visible(index, query(5)) == [hit("b", 1)]


@pytest.mark.parametrize("updates", [1, 3])
async def test_updates_that_land_while_the_index_is_searched_do_not_lose_the_document(updates: int) -> None:
    index = ScriptedIndex([hit("a", 1)], {"a": fence("a", visible=1)})

    def finish_update() -> None:
        revision = min(len(index.limits), updates) + 1
        index.hits = [hit("a", revision)]
        index.stored_fences["a"] = fence("a", visible=revision)

    index.after_search = finish_update

    assert await search_visible(index, query(5), max_rounds=4) == [hit("a", updates + 1)]


async def test_an_outdated_revision_that_nobody_removed_costs_one_more_search_at_most() -> None:
    index = ScriptedIndex([hit("a", 1), hit("b", 1)], {"a": fence("a", visible=2)})

    assert await search_visible(index, query(5)) == [hit("b", 1)]
    assert len(index.limits) == 2


async def test_a_search_that_hides_nothing_asks_once() -> None:
    index = ScriptedIndex([hit("a", 1, ordinal) for ordinal in range(100)])

    assert len(await search_visible(index, query(10))) == 10
    assert len(index.limits) == 1


async def test_a_search_goes_deeper_until_enough_may_be_shown() -> None:
    hidden = [hit("gone", 1, ordinal) for ordinal in range(60)]
    shown = [hit("here", 1, ordinal) for ordinal in range(10)]
    index = ScriptedIndex(hidden + shown, {"gone": fence("gone", floor=2)})

    assert await search_visible(index, query(10)) == shown


async def test_a_search_stops_when_there_is_no_more() -> None:
    index = ScriptedIndex([hit("gone", 1), hit("here", 1)], {"gone": fence("gone", floor=2)})

    assert await search_visible(index, query(10)) == [hit("here", 1)]
    assert len(index.limits) == 1


async def test_a_search_gives_up_after_its_rounds() -> None:
    hidden = [hit("gone", 1, ordinal) for ordinal in range(10_000)]
    index = ScriptedIndex(hidden, {"gone": fence("gone", floor=2)})

    assert await search_visible(index, query(10), max_rounds=3) == []
    assert len(index.limits) == 3
    assert index.limits == sorted(set(index.limits))


async def test_near_copies_are_made_up_for_by_looking_deeper() -> None:
    copies = [hit("a", 1, ordinal, text="the same page twice") for ordinal in range(30)]
    other = [hit("b", 1, 0, text="the same page twice"), hit("a", 1, 99, text="something else")]
    index = ScriptedIndex(copies + other)

    assert await search_visible(index, query(3)) == [copies[0], *other]
