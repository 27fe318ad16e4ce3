"""Answers that were given before: who gets one again, what it looks like, and when it no longer counts."""

import asyncio
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from contracts.queries import Answer, AnswerEvent, AskQuestion
from contracts.retrieval import EpochRequest, RetrieveReply, RetrieveRequest
from services.agent.answer_cache import AnswerCache, MadeAnswer, Make, normalised
from services.agent.answering import Answering
from services.agent.events import AnswerEvents
from services.agent.extractive_writer import ExtractiveWriter
from shared.caching.memory_cache import MemoryCache
from shared.caching.metrics import CacheMetrics
from shared.errors import TakenOver, Unavailable
from tests.running import eventually
from tests.unit.agent.library import Library, Streams, conversations_of, question_of

TEXT = "When did the harbour of Lindby open?"
EVENTS = ["accepted", "retrieval", "delta", "citations", "done"]
METRICS = CacheMetrics(NoOpMeterProvider().get_meter("test"))


async def answered(cache: AnswerCache, question: AskQuestion, make: Make) -> MadeAnswer:
    async def missed() -> None:
        return None

    return await cache.get_or_make(question, make, None, missed=missed)


class Agents:
    """Agents that share a cache and a library, whose questions are numbered."""

    def __init__(self, library: Library | None = None) -> None:
        self.library = library or Library()
        self.streams = Streams()
        self.cache = MemoryCache(2**20)
        self.asked = 0

    async def ask(self, text: str = TEXT, writer: str = "extractive", **fields: Any) -> Answer:
        self.asked += 1
        query_id = f"q{self.asked}"
        question = question_of(text, **{"query_id": query_id, **fields})
        cache = AnswerCache(self.library, self.cache, writer=writer, seconds=60, epoch_seconds=1, metrics=METRICS)
        writer_of_answers = ExtractiveWriter(self.library, max_embedded_sentences=8)
        answering = Answering(self.library, writer_of_answers, conversations_of(self.library), cache)
        told = await self.streams.recall(query_id)
        events = AnswerEvents(self.streams.publish, question, {}, told, self.streams.publish_together)
        return await answering.answer(question, events, deadline=None)

    def events(self) -> list[AnswerEvent]:
        """Return the events of the last question."""
        return self.streams.events(f"q{self.asked}")

    @property
    def searches(self) -> int:
        return sum(isinstance(request, RetrieveRequest) for request in self.library.requests)


async def test_a_question_that_was_answered_gets_the_same_answer_without_a_search() -> None:
    agents = Agents()
    first, before = await agents.ask(), agents.events()
    again, after = await agents.ask(), agents.events()
    assert (first.cached, again.cached, agents.searches) == (False, True, 1)
    assert again == first.model_copy(update={"cached": True})
    assert [event.type for event in after] == [event.type for event in before] == EVENTS
    assert [event.sequence for event in after] == [1, 2, 3, 4, 5]
    assert [event.data for event in after[:-1]] == [event.data for event in before[:-1]]
    assert after[-1].data == {**before[-1].data, "cached": True}
    assert agents.streams.batches == 1, "the events of a known answer go together"


async def test_when_something_has_changed_the_question_is_answered_anew() -> None:
    agents = Agents()
    await agents.ask()
    agents.library.texts = {"harbour": "The harbour of Lindby opened in 1999."}
    agents.library.epoch += 1
    answer = await agents.ask()
    assert not answer.cached
    assert "1999" in answer.answer


async def test_a_change_while_an_answer_is_made_is_not_covered_up() -> None:
    """INVARIANT: deleted is gone. An epoch that is read after the search would vouch for what came before it."""

    class Changing(Library):
        async def retrieve(self, *arguments: Any) -> RetrieveReply:
            found = await super().retrieve(*arguments)
            self.epoch += 1
            return found

    agents = Agents(Changing())
    assert [(await agents.ask()).cached for _ in range(3)] == [False, False, False]


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "globex"},
        {"collection": "towns"},
        {"top_k": 3},
        {"filter": {"year": 2026}},
        {"writer": "a language model"},
        {"text": "When did the harbour of Ystad open?"},
        {"text": "When did the Harbour of Lindby open?"},
    ],
)
async def test_whatever_may_decide_about_an_answer_tells_questions_apart(other: dict[str, Any]) -> None:
    agents = Agents()
    await agents.ask()
    assert not (await agents.ask(**other)).cached
    assert (await agents.ask(**other)).cached


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When was it?", "  When \n was  it ? "),
        ("When was it?", "When was it"),
        ("When was it?", "When was it???"),
        ("Caf\u00e9 hours", "Cafe\u0301 hours"),
    ],
)
def test_spacing_composition_and_closing_marks_make_no_other_question(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), [("polish rules", "Polish rules"), ("a b", "ab"), ("C", "C++"), ("?", "!")])
def test_what_may_mean_something_else_stays_another_question(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


async def test_without_an_epoch_every_question_is_answered_anew() -> None:
    agents = Agents()
    await agents.ask()
    for _ in range(2):
        agents.library.failures = [Unavailable("nobody answers rag.v1.index.epoch")]
        answer = await agents.ask()
        assert answer.answered
        assert not answer.cached


async def test_a_failure_is_not_kept() -> None:
    agents = Agents()

    class Failing(Library):
        async def retrieve(self, *arguments: Any) -> RetrieveReply:
            raise Unavailable("away")

    working, agents.library = agents.library, Failing()
    with pytest.raises(Unavailable):
        await agents.ask()
    agents.library = working
    assert not (await agents.ask()).cached


async def test_agents_with_tools_always_work_anew() -> None:
    agents = Agents()
    cache = AnswerCache(agents.library, agents.cache, writer="x", seconds=60, epoch_seconds=1, metrics=METRICS)
    made = MadeAnswer(retrieval={}, answer=Answer(answer="7", answered=True))

    async def make() -> MadeAnswer:
        return made

    question = question_of(TEXT, mode="agent")
    assert [await answered(cache, question, make) for _ in range(2)] == [made, made]
    assert not any(isinstance(request, EpochRequest) for request in agents.library.requests)


async def test_what_an_answer_cost_is_paid_once() -> None:
    agents = Agents()
    cache = AnswerCache(agents.library, agents.cache, writer="x", seconds=60, epoch_seconds=1, metrics=METRICS)

    async def make() -> MadeAnswer:
        usage = {"input_tokens": 900.0, "cost": 0.01}
        return MadeAnswer(retrieval={}, answer=Answer(answer="7", answered=True, usage=usage, steps=[{"kind": "x"}]))

    await answered(cache, question_of(TEXT), make)
    again = (await answered(cache, question_of(TEXT), make)).answer
    assert (again.cached, again.usage, again.steps) == (True, {"input_tokens": 0.0, "cost": 0.0}, [])


async def test_many_who_ask_the_same_at_once_are_answered_by_one_search() -> None:
    library, released = Library(), asyncio.Event()
    cache = AnswerCache(library, MemoryCache(2**20), writer="x", seconds=60, epoch_seconds=1, metrics=METRICS)
    calls = 0

    async def make() -> MadeAnswer:
        nonlocal calls
        calls += 1
        await released.wait()
        return MadeAnswer(retrieval={}, answer=Answer(answer="7", answered=True))

    asking = [asyncio.create_task(answered(cache, question_of(TEXT), make)) for _ in range(20)]
    await eventually(lambda: calls == 1, "one of 20 searches")
    released.set()
    made = await asyncio.gather(*asking)
    assert calls == 1
    assert sorted(each.answer.cached for each in made) == [False, *[True] * 19]


async def test_when_the_one_who_answers_is_overtaken_the_next_one_takes_over() -> None:
    """Its failure says that another delivery answers its own question; it says nothing of the question of others."""
    library, released = Library(), asyncio.Event()
    cache = AnswerCache(library, MemoryCache(2**20), writer="x", seconds=60, epoch_seconds=1, metrics=METRICS)

    async def overtaken() -> MadeAnswer:
        await released.wait()
        raise TakenOver("another delivery is at work")

    async def make() -> MadeAnswer:
        return MadeAnswer(retrieval={}, answer=Answer(answer="7", answered=True))

    first = asyncio.create_task(answered(cache, question_of(TEXT), overtaken))
    await eventually(lambda: len(library.requests) == 1, "1 ask for the epoch")
    second = asyncio.create_task(answered(cache, question_of(TEXT), make))
    await eventually(lambda: len(library.requests) == 2, "2 ask for the epoch")
    released.set()
    with pytest.raises(TakenOver):
        await first
    assert (await second).answer.answer == "7"


async def test_a_delivery_that_told_a_part_is_gone_on_with() -> None:
    agents = Agents()
    await agents.ask()
    agents.asked += 1
    question = question_of(TEXT, query_id="q9")
    await AnswerEvents(agents.streams.publish, question, {}).send("accepted")
    agents.asked = 8
    answer = await agents.ask()
    assert answer.cached
    assert [event.type for event in agents.events()] == EVENTS
    assert [event.sequence for event in agents.events()] == [1, 2, 3, 4, 5]


async def test_of_two_deliveries_the_one_that_fell_behind_stores_nothing() -> None:
    """INVARIANT: effects happen once. Events that go together must go behind the one before them, or not at all."""
    agents = Agents()
    answer = await agents.ask()
    question = question_of(TEXT, query_id="q2")
    frozen = AnswerEvents(agents.streams.publish, question, {}, store_together=agents.streams.publish_together)
    await frozen.send("accepted")
    other = AnswerEvents(agents.streams.publish, question, {}, await agents.streams.recall("q2"))
    await other.send("retrieval", {"hits": []})
    with pytest.raises(TakenOver):
        await frozen.send_known({"hits": []}, answer)
    assert [event.type for event in agents.streams.events("q2")] == ["accepted", "retrieval"]
