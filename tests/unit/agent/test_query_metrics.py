"""What is counted of questions: each once, by how it ended."""

from typing import Any

import pytest

from services.agent.answering import Answering
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.handlers import AgentHandlers
from services.agent.metrics import QueryMetrics
from shared.errors import Rejected, Unavailable
from tests.measuring import Measured
from tests.unit.agent.library import Library, Streams, conversations_of, question_of
from tests.unit.agent.test_handlers import TEXT, delivery_of

DURATION = "rag.queries.duration"
FIRST_DELTA = "rag.queries.first_delta"


class Agent:
    """Handlers whose figures are read."""

    def __init__(self) -> None:
        self.measured, self.library, self.streams = Measured(), Library(), Streams()
        writer = ExtractiveWriter(self.library, max_embedded_sentences=8)
        answering = Answering(self.library, writer, conversations_of(self.library))
        metrics = QueryMetrics(self.measured.meter)
        self._handlers = AgentHandlers(answering, self.streams.publish, self.streams.recall, metrics=metrics)

    async def handle(self, deliveries: int = 1, text: str = TEXT, **fields: Any) -> None:
        await self._handlers.on_question(question_of(text, **fields), delivery_of(deliveries))

    def count(self, **labels: object) -> float:
        return self.measured.total(DURATION, **labels)


async def test_a_question_that_is_answered_counts_once_with_its_first_piece_of_text() -> None:
    agent = Agent()
    await agent.handle()
    assert agent.count(rag_mode="rag", rag_outcome="answered", rag_cached=False) == agent.count() == 1
    assert agent.measured.total(FIRST_DELTA, rag_mode="rag") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unavailable("nobody answers"), "failed"),
        (Rejected("no such field", code="invalid_filter", field="filter"), "rejected"),
    ],
)
async def test_what_the_caller_can_mend_is_told_from_what_failed(error: Exception, outcome: str) -> None:
    agent = Agent()
    agent.library.failures = [error]
    await agent.handle()
    assert agent.count(rag_outcome=outcome) == agent.count() == 1
    assert agent.measured.total(FIRST_DELTA) == 0


async def test_a_question_without_evidence_is_declined() -> None:
    agent = Agent()
    await agent.handle(text="Which paint does the moon prefer on Tuesdays?")
    assert agent.count(rag_outcome="declined") == agent.count() == 1


async def test_a_question_that_is_tried_again_counts_when_it_ends() -> None:
    agent = Agent()
    agent.library.failures = [RuntimeError("bug")]
    with pytest.raises(RuntimeError):
        await agent.handle()
    assert agent.count() == 0
    await agent.handle(deliveries=2)
    assert agent.count(rag_outcome="answered") == agent.count() == 1


async def test_an_answer_whose_agent_died_before_it_counted_is_counted_by_the_next_one() -> None:
    first, second = Agent(), Agent()
    await first.handle()
    second.streams = first.streams
    second._handlers._publish, second._handlers._recall = first.streams.publish, first.streams.recall
    await second.handle(deliveries=2)
    assert second.count(rag_outcome="answered") == 1
    assert second.measured.total(FIRST_DELTA) == 0
