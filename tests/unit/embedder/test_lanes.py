import asyncio
import os
import queue
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from services.embedder.embedding import (
    DeadlineExpired,
    EmbeddingUnavailable,
    InvalidVector,
    Overloaded,
    Vectors,
)
from services.embedder.lanes import Lanes

PATIENCE_SECONDS = 5


class ControlledModel:
    """A model whose every text waits at a gate; a text's vector is its place on the unit circle."""

    dimension, max_tokens, fingerprint = 2, 512, "controlled:1"
    query_prefix, passage_prefix = "query: ", "passage: "

    def __init__(self) -> None:
        self.open_gates = threading.Event()
        self.gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self.computed: list[str] = []
        self.niceness: list[int] = []
        self.alone: list[bool] = []
        self.answers: dict[str, Vectors | Exception] = {}
        self.on_start: Callable[[], object] = lambda: None
        self._started: queue.Queue[str] = queue.Queue()

    def embed(self, prepared: str, *, alone: bool = False) -> Vectors:
        text = prepared.split(": ", 1)[1]
        self.computed.append(prepared)
        self.alone.append(alone)
        self.niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.on_start()
        self._started.put(text)
        gate = self.gates[text]
        assert self.open_gates.is_set() or gate.wait(PATIENCE_SECONDS), f"nobody opened the gate of {text}"
        answer = self.answers.get(text, vector_of(text))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def started(self) -> str:
        return await asyncio.to_thread(self._started.get, timeout=PATIENCE_SECONDS)

    def let_through(self, *texts: str) -> None:
        for text in texts:
            self.gates[text].set()

    def let_all_through(self) -> None:
        self.open_gates.set()
        for gate in list(self.gates.values()):
            gate.set()


def vector_of(text: str) -> Vectors:
    angle = sum(text.encode())
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def vectors_of(*texts: str) -> Vectors:
    return np.stack([vector_of(text) for text in texts])


@pytest.fixture
def model() -> ControlledModel:
    return ControlledModel()


@asynccontextmanager
async def lanes_over(model: ControlledModel, **settings: Any) -> AsyncIterator[Lanes]:
    lanes = Lanes(model, **{"bulk_threads": 1, **settings})
    try:
        yield lanes
    finally:
        model.let_all_through()
        await lanes.close()


async def settle() -> None:
    """Let every task that can go on do so until it waits for a thread."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["query", "interactive passage"])
async def test_a_query_overtakes_every_bulk_slice_that_waits_or_runs(model: ControlledModel, kind: str) -> None:
    """INVARIANT: interactive before bulk. One shared pool of threads would leave the query waiting here for ever."""
    async with lanes_over(model, bulk_threads=2) as lanes:
        bulk = asyncio.create_task(lanes.embed_passages(["a", "b", "c"]))
        assert {await model.started(), await model.started()} == {"a", "b"}
        model.let_through("question")
        urgent = (
            lanes.embed_queries(["question"])
            if kind == "query"
            else lanes.embed_passages(["question"], interactive=True)
        )
        assert (await asyncio.wait_for(urgent, PATIENCE_SECONDS) == vectors_of("question")).all()
        assert not bulk.done()


async def test_only_a_query_beside_which_no_other_waits_or_runs_may_hurry(model: ControlledModel) -> None:
    async with lanes_over(model, interactive_threads=2) as lanes:
        bulk = asyncio.create_task(lanes.embed_passages(["document"]))
        await model.started()
        first = asyncio.create_task(lanes.embed_queries(["first"]))
        await model.started()
        second = asyncio.create_task(lanes.embed_queries(["second"]))
        await model.started()
        model.let_all_through()
        await asyncio.gather(bulk, first, second)
        await lanes.embed_queries(["third"])
    assert dict(zip(model.computed, model.alone, strict=True)) == {
        "passage: document": False,
        "query: first": True,
        "query: second": False,
        "query: third": True,
    }


async def test_of_several_texts_of_a_request_the_last_may_hurry(model: ControlledModel) -> None:
    model.let_all_through()
    async with lanes_over(model) as lanes:
        await lanes.embed_queries(["a", "b", "c"])
    assert model.alone == [False, False, True]


async def test_vectors_come_back_in_the_order_of_the_texts_with_the_prefix_of_their_kind(
    model: ControlledModel,
) -> None:
    model.let_all_through()
    texts = ["short", "the longest of them", "", "middling"]
    async with lanes_over(model, bulk_threads=2) as lanes:
        assert (await lanes.embed_passages(texts) == vectors_of(*texts)).all()
        assert (await lanes.embed_queries(texts) == vectors_of(*texts)).all()
        assert (await lanes.embed_passages(texts, interactive=True) == vectors_of(*texts)).all()
    prefixes = [prepared.split(": ")[0] for prepared in model.computed]
    assert prefixes == ["passage"] * 4 + ["query"] * 4 + ["passage"] * 4


@pytest.mark.parametrize("max_waiting_slices", [1, 2, 100])
async def test_bulk_serves_calls_in_order_and_the_longest_text_of_a_call_first(
    model: ControlledModel, max_waiting_slices: int
) -> None:
    async with lanes_over(model, max_waiting_slices=max_waiting_slices) as lanes:
        calls = [
            asyncio.create_task(lanes.embed_passages(texts)) for texts in (["first"], ["a", "bbb", "cc"], ["dddd"])
        ]
        await model.started()
        await settle()
        model.let_all_through()
        await asyncio.gather(*calls)
    assert model.computed == [f"passage: {text}" for text in ("first", "bbb", "cc", "a", "dddd")]


async def test_bulk_flows_while_queries_keep_coming(model: ControlledModel) -> None:
    async with lanes_over(model) as lanes:
        queries = [asyncio.create_task(lanes.embed_queries([f"q{number}"])) for number in range(20)]
        await model.started()
        model.let_through("document")
        assert (await lanes.embed_passages(["document"]) == vectors_of("document")).all()
        assert not any(query.done() for query in queries)
        model.let_all_through()
        await asyncio.gather(*queries)


async def test_a_single_query_passes_a_long_interactive_request(model: ControlledModel) -> None:
    async with lanes_over(model) as lanes:
        long = asyncio.create_task(lanes.embed_queries([f"sentence {number}" for number in range(64)]))
        assert await model.started() == "sentence 0"
        single = asyncio.create_task(lanes.embed_queries(["single"]))
        await settle()
        model.let_through("sentence 0", "sentence 1", "single")
        await asyncio.wait_for(single, PATIENCE_SECONDS)
        assert len(model.computed) <= 4
        assert not long.done()
        model.let_all_through()
        assert (await long).shape == (64, 2)


async def test_bulk_never_holds_more_than_its_bound_and_still_serves_everyone(model: ControlledModel) -> None:
    seen: list[int] = []
    async with lanes_over(model, max_waiting_slices=4) as lanes:
        model.on_start = lambda: seen.append(lanes.waiting_slices)
        calls = [
            asyncio.create_task(lanes.embed_passages([f"{call}.{row}" for row in range(size)]))
            for call, size in enumerate((30, 1, 10))
        ]
        await model.started()
        await settle()
        assert lanes.waiting_slices == 4
        model.let_all_through()
        assert [len(vectors) for vectors in await asyncio.gather(*calls)] == [30, 1, 10]
    assert max(seen) <= 4


async def test_a_full_interactive_lane_refuses_what_does_not_fit_and_says_so(model: ControlledModel) -> None:
    async with lanes_over(model, max_waiting_queries=2) as lanes:
        running = asyncio.create_task(lanes.embed_queries(["running"]))
        await model.started()
        waiting = asyncio.create_task(lanes.embed_queries(["waiting"]))
        await settle()
        with pytest.raises(Overloaded, match="2 texts do not fit the interactive lane: 1 of 2 places are free"):
            await lanes.embed_queries(["too", "many"])
        model.let_all_through()
        await asyncio.gather(running, waiting)
        assert (await lanes.embed_queries(["now", "they fit"])).shape == (2, 2)


async def test_a_cancelled_call_gives_back_its_places_and_only_its_own(model: ControlledModel) -> None:
    async with lanes_over(model, max_waiting_slices=2) as lanes:
        cancelled = asyncio.create_task(
            lanes.embed_passages(["the one that runs", "one that waits", "another", "more"])
        )
        assert await model.started() == "the one that runs"
        second = asyncio.create_task(lanes.embed_passages(["second"]))
        await settle()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        model.let_through("the one that runs", "second")
        assert (await second == vectors_of("second")).all()
        third = asyncio.create_task(lanes.embed_passages(["a", "b", "c", "d", "e"]))
        assert [await model.started(), await model.started()] == ["second", "a"]
        await settle()
        assert lanes.waiting_slices == 2
        model.let_all_through()
        assert (await third).shape == (5, 2)


async def test_a_text_that_fails_fails_its_own_call_only(model: ControlledModel) -> None:
    model.answers["bad"] = RuntimeError("the model broke on this text")
    model.let_all_through()
    async with lanes_over(model) as lanes:
        bad, good = await asyncio.gather(
            lanes.embed_passages(["fine", "bad"]), lanes.embed_passages(["good"]), return_exceptions=True
        )
        assert isinstance(bad, RuntimeError)
        assert isinstance(good, np.ndarray)
        assert (good == vectors_of("good")).all()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.ones(3, np.float32), r"shape \(3,\), expected \(2,\)"),
        (np.ones(1, np.float32), r"shape \(1,\), expected \(2,\)"),
        (np.array([1, np.nan], np.float32), "zeros, NaN or infinity"),
        (np.array([1, np.inf], np.float32), "zeros, NaN or infinity"),
        (np.zeros(2, np.float32), "zeros, NaN or infinity"),
    ],
)
async def test_an_answer_that_is_no_vector_of_the_model_is_an_error(
    model: ControlledModel, answer: Vectors, reason: str
) -> None:
    model.answers["text"] = answer
    model.let_all_through()
    async with lanes_over(model) as lanes:
        with pytest.raises(InvalidVector, match=reason):
            await lanes.embed_passages(["text"])


async def test_a_slice_whose_deadline_has_passed_is_not_computed(model: ControlledModel) -> None:
    now = [1_000.0]
    async with lanes_over(model, clock=lambda: now[0]) as lanes:
        late = asyncio.create_task(lanes.embed_passages(["late one", "later"], deadline=1_010.0))
        assert await model.started() == "late one"
        now[0] = 1_020.0
        model.let_all_through()
        with pytest.raises(DeadlineExpired, match="waited for their turn"):
            await late
        with pytest.raises(DeadlineExpired, match="before embedding began"):
            await lanes.embed_queries(["too late"], deadline=1_010.0)
    assert model.computed == ["passage: late one"]


@pytest.mark.parametrize("max_waiting_slices", [1, 100])
async def test_the_deadline_ends_the_wait_even_when_no_thread_comes_free(
    model: ControlledModel, max_waiting_slices: int
) -> None:
    async with lanes_over(model, max_waiting_slices=max_waiting_slices) as lanes:
        blocking = asyncio.create_task(lanes.embed_passages(["blocking"]))
        await model.started()
        with pytest.raises(DeadlineExpired, match="waited for their vectors"):
            await lanes.embed_passages(["a", "b", "c"], deadline=time.time() + 0.05)
        assert lanes.waiting_slices == 0
        model.let_all_through()
        await blocking
    assert model.computed == ["passage: blocking"]


async def test_close_fails_what_waits_and_ends_the_threads(model: ControlledModel) -> None:
    before = set(threading.enumerate())
    lanes = Lanes(model, bulk_threads=1, max_waiting_slices=1)
    calls = [asyncio.create_task(lanes.embed_passages([f"{number}", "x", "y"])) for number in range(3)]
    calls.append(asyncio.create_task(lanes.embed_queries(["q1", "q2"])))
    assert {await model.started(), await model.started()} == {"0", "q1"}
    closing = asyncio.create_task(lanes.close())
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), PATIENCE_SECONDS)
    assert [type(outcome) for outcome in outcomes] == [EmbeddingUnavailable] * 4
    model.let_all_through()
    await closing
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("embed-")]
    with pytest.raises(EmbeddingUnavailable):
        await lanes.embed_queries(["after"])


async def test_close_does_not_wait_for_a_stuck_thread_beyond_its_bound(model: ControlledModel) -> None:
    lanes = Lanes(model, bulk_threads=1, close_timeout_seconds=0.05)
    stuck = asyncio.create_task(lanes.embed_passages(["stuck"]))
    await model.started()
    await asyncio.wait_for(lanes.close(), PATIENCE_SECONDS)
    with pytest.raises(EmbeddingUnavailable):
        await stuck
    model.let_all_through()


async def test_no_texts_give_no_vectors(model: ControlledModel) -> None:
    async with lanes_over(model) as lanes:
        assert (await lanes.embed_passages([])).shape == (0, 2)
        assert (await lanes.embed_queries([])).shape == (0, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives each thread a priority of its own")
async def test_bulk_threads_yield_the_cores_to_interactive_ones(model: ControlledModel) -> None:
    model.let_all_through()
    async with lanes_over(model, bulk_niceness=7) as lanes:
        await lanes.embed_queries(["query"])
        await lanes.embed_passages(["passage"])
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert model.niceness == [usual, min(19, usual + 7)]
