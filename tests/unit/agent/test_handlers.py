"""What becomes of a question: its fact, or an error event for the caller; never silence."""

import asyncio
import time
from typing import Any

import pytest

from contracts import subjects, topology
from contracts.facts import QueryAnswered, QueryFailed
from services.agent.answering import Answering
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.first_words import FirstWords
from services.agent.handlers import AgentHandlers
from shared.errors import DeadlineExpired, Rejected, Unavailable
from shared.messaging.delivery import Delivery
from tests.unit.agent.library import Library, Streams, conversations_of, question_of

TEXT = "When did the harbour of Lindby open?"


def delivery_of(deliveries: int = 1) -> Delivery:
    return Delivery(
        subject=subjects.QUERIES_ASK,
        headers={subjects.HEADER_TENANT: "acme"},
        stream="QUERIES",
        consumer="agent",
        sequence=1,
        deliveries=deliveries,
        published_at=time.time() - 0.5,
        payload=b"",
    )


async def handle(library: Library, streams: Streams, deliveries: int = 1, **fields: Any) -> None:
    answering = Answering(library, ExtractiveWriter(library, max_embedded_sentences=8), conversations_of(library))
    handlers = AgentHandlers(answering, streams.publish, streams.recall)
    await handlers.on_question(question_of(TEXT, **fields), delivery_of(deliveries))


async def test_an_answer_ends_with_its_fact() -> None:
    streams = Streams()
    await handle(Library(), streams)
    (fact,) = streams.facts(subjects.QUERY_ANSWERED)
    assert isinstance(fact, QueryAnswered)
    assert (fact.tenant, fact.query_id, fact.answered) == ("acme", "q1", True)
    assert fact.citations >= 1
    assert 500 <= fact.duration_ms < 10_000
    assert f"{subjects.QUERY_ANSWERED} q1:answered" in streams.stored
    assert {tenant for _, _, tenant in streams.stored.values()} == {"acme"}


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (Unavailable("nobody answers"), "dependency_unavailable", "retryable"),
        (Rejected("no such field", code="invalid_filter", field="filter"), "invalid_filter", "rejected"),
        (DeadlineExpired("too late"), "deadline_expired", "expired"),
    ],
)
async def test_an_expected_failure_is_told_to_the_caller_and_is_done(error: Exception, code: str, kind: str) -> None:
    library, streams = Library(), Streams()
    library.failures = [error]
    await handle(library, streams)
    last = streams.events()[-1]
    assert (last.type, last.data["code"], last.data["kind"], last.data["message"]) == ("error", code, kind, str(error))
    (fact,) = streams.facts(subjects.QUERY_FAILED)
    assert isinstance(fact, QueryFailed)
    assert (fact.query_id, fact.code, fact.message) == ("q1", code, str(error))
    assert streams.facts(subjects.QUERY_ANSWERED) == []


async def test_a_fault_is_tried_again_before_the_caller_hears_of_it() -> None:
    library, streams = Library(), Streams()
    library.failures = [RuntimeError("bug with a secret")]
    with pytest.raises(RuntimeError):
        await handle(library, streams)
    assert [event.type for event in streams.events()] == ["accepted"]
    await handle(library, streams, deliveries=2)
    assert streams.events()[-1].type == "done"


async def test_the_last_try_of_a_fault_tells_the_caller_and_stays_a_fault() -> None:
    library, streams = Library(), Streams()
    library.failures = [RuntimeError("bug with a secret")]
    with pytest.raises(RuntimeError):
        await handle(library, streams, deliveries=topology.AGENT.max_faults)
    last = streams.events()[-1]
    assert (last.type, last.data["code"]) == ("error", "internal_error")
    assert "secret" not in str(last.data)
    assert len(streams.facts(subjects.QUERY_FAILED)) == 1


async def test_a_broker_that_takes_no_events_leaves_the_question_to_be_tried_again() -> None:
    streams = Streams()
    streams.failure = Unavailable("the broker did not acknowledge")
    with pytest.raises(Unavailable):
        await handle(Library(), streams)


async def test_an_answer_with_a_complete_text_gives_way_to_one_that_has_said_nothing() -> None:
    streams, spoken, released = Streams(), Library(), asyncio.Event()
    first_words = FirstWords(together=1, seconds=60)

    class SlowLibrary(Library):
        async def __call__(self, *arguments: Any, **options: Any) -> Any:
            await released.wait()
            return await super().__call__(*arguments, **options)

    def handlers_on(library: Library) -> AgentHandlers:
        answering = Answering(library, ExtractiveWriter(library, max_embedded_sentences=8), conversations_of(library))
        return AgentHandlers(answering, streams.publish, streams.recall, first_words=first_words)

    async with asyncio.TaskGroup() as group:
        group.create_task(handlers_on(SlowLibrary()).on_question(question_of(TEXT, query_id="q2"), delivery_of()))
        group.create_task(handlers_on(spoken).on_question(question_of(TEXT), delivery_of()))
        for _ in range(50):
            await asyncio.sleep(0)
        assert [event.type for event in streams.events()] == ["accepted", "retrieval", "delta"]
        released.set()
    assert streams.events()[-1].type == "done"
