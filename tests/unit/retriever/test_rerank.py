"""Reranking within its time, or not at all."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from services.retriever.rerank import Reranker
from tests.unit.retriever.hits import hit

HITS = [hit("a", text="far"), hit("b", text="near"), hit("c", text="unread")]


class Judge:
    """Prefers what says `near`; `before` runs ahead of every pair."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def score(self, query: str, passage: str) -> float:
        self.before()
        self.read.append(passage)
        return 5.0 if "near" in passage else -5.0


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
async def reranker(judge: Judge) -> AsyncIterator[Reranker]:
    reranker = Reranker(judge, candidates=2, budget_seconds=5.0)
    yield reranker
    await asyncio.to_thread(reranker.close)


async def test_the_first_hits_are_put_in_a_new_order_and_the_rest_follows(reranker: Reranker, judge: Judge) -> None:
    found = await reranker.rerank("query", HITS, None)

    assert found is not None
    assert [each.document_id for each in found] == ["b", "a", "c"]
    assert [each.score for each in found] == pytest.approx([0.9933, 0.0067, 0.0], abs=1e-4)
    assert judge.read == ["far", "near"]


async def test_a_title_is_read_with_its_passage(reranker: Reranker, judge: Judge) -> None:
    await reranker.rerank("query", [hit("a", text="text", title="Title")], None)

    assert judge.read == ["Title. text"]


async def test_when_the_budget_is_spent_there_is_no_order_and_reading_stops(judge: Judge) -> None:
    release = threading.Event()
    judge.before = release.wait
    reranker = Reranker(judge, candidates=3, budget_seconds=0.05)

    assert await reranker.rerank("query", HITS, None) is None

    release.set()
    await asyncio.to_thread(reranker.close)
    assert len(judge.read) <= 1


async def test_a_search_that_waits_for_another_one_spends_its_own_budget(judge: Judge) -> None:
    entered, release = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        release.wait()

    judge.before = block
    reranker = Reranker(judge, candidates=1, budget_seconds=30.0)
    first = asyncio.create_task(reranker.rerank("first", HITS, None))
    await asyncio.to_thread(entered.wait)

    assert await reranker.rerank("second", HITS, time.time() + 0.05) is None

    release.set()
    assert await first is not None
    await asyncio.to_thread(reranker.close)
    assert len(judge.read) == 1


async def test_a_deadline_in_the_past_costs_nothing(reranker: Reranker, judge: Judge) -> None:
    assert await reranker.rerank("query", HITS, time.time() - 1) is None
    assert judge.read == []


async def test_a_model_that_fails_is_not_hidden(reranker: Reranker, judge: Judge) -> None:
    def fail() -> None:
        raise RuntimeError("broken model")

    judge.before = fail

    with pytest.raises(RuntimeError, match="broken model"):
        await reranker.rerank("query", HITS, None)


async def test_nothing_found_needs_no_order(reranker: Reranker) -> None:
    assert await reranker.rerank("query", [], None) == []
