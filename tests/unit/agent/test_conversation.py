"""A conversation as the agent takes part in it."""

from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from contracts import subjects
from contracts.conversations import ConversationTurn, HistoryQuery, HistoryReply, PastTurn, RecordReply
from contracts.messages import Message
from contracts.queries import Answer, HistoryTurn
from services.agent.answering import Answering
from services.agent.events import AnswerEvents
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.llm import LlmUnavailable
from services.agent.rewriting import ModelRewriter, RewriteLimits, Rewriter
from shared.errors import Overloaded, Rejected, RemoteFault, Unavailable
from tests.unit.agent.library import Library, Streams, conversations_of, question_of
from tests.unit.agent.scripted_model import ScriptedModel

A = TypeVar("A", bound=Message)

TURNS = (PastTurn(question="When did the harbour of Lindby open?", answer="In 1887."),)
FOLLOW_UP = "When did it open?"
ALONE = "When did the harbour of Lindby open?"
BY_RULE = f"{ALONE} {FOLLOW_UP}"
LIMITS = RewriteLimits(history_tokens=200, output_tokens=50, seconds=5.0)


class Keeper(Library):
    """A library with a persistence beside it, which may be away or fail."""

    def __init__(self, turns: Sequence[PastTurn] = TURNS) -> None:
        super().__init__()
        self.turns = list(turns)
        self.kept: list[ConversationTurn] = []
        self.history_failure: Exception | None = None
        self.record_failure: Exception | None = None

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        found: Message
        if isinstance(request, HistoryQuery):
            self.requests.append(request)
            if self.history_failure:
                raise self.history_failure
            found = HistoryReply(turns=self.turns)
        elif isinstance(request, ConversationTurn):
            if self.record_failure:
                raise self.record_failure
            self.kept.append(request)
            found = RecordReply(kept=True)
        else:
            return await super().__call__(subject, request, reply, deadline=deadline)
        assert isinstance(found, reply)
        return found


async def ask(
    keeper: Keeper,
    streams: Streams,
    rewriter: Rewriter | None = None,
    text: str = FOLLOW_UP,
    turn_bytes: int = 100_000,
    **fields: Any,
) -> Answer:
    question = question_of(text, **{"conversation_id": "c1", **fields})
    talk = conversations_of(keeper, streams.publish, rewriter, turn_bytes=turn_bytes)
    events = AnswerEvents(streams.publish, question, {}, await streams.recall(question.query_id))
    answering = Answering(keeper, ExtractiveWriter(keeper, max_embedded_sentences=8), talk)
    return await answering.answer(question, events, None)


def steps(streams: Streams) -> list[dict[str, Any]]:
    return [event.data for event in streams.events() if event.type == "step"]


async def test_a_follow_up_is_answered_as_what_it_means() -> None:
    keeper, streams = Keeper(), Streams()
    answer = await ask(keeper, streams)
    assert answer.answered
    assert answer.citations[0].quote == "The harbour of Lindby opened in 1887."
    step = {"kind": "rewritten", "question": BY_RULE}
    assert steps(streams) == [step]
    assert (answer.steps, answer.conversation_id) == ([step], "c1")
    assert [event.type for event in streams.events()] == [
        "accepted",
        "step",
        "retrieval",
        "delta",
        "citations",
        "done",
    ]


async def test_a_follow_up_is_also_understood_from_the_history_that_comes_with_it() -> None:
    keeper, streams = Keeper(), Streams()
    history = [HistoryTurn(question=TURNS[0].question, answer=TURNS[0].answer)]
    answer = await ask(keeper, streams, conversation_id=None, history=history)
    assert answer.citations[0].quote == "The harbour of Lindby opened in 1887."
    assert (steps(streams), answer.conversation_id) == ([{"kind": "rewritten", "question": BY_RULE}], None)
    assert keeper.kept == []
    assert not any(isinstance(request, HistoryQuery) for request in keeper.requests)


async def test_the_turn_is_recorded_before_the_answer_is_done() -> None:
    """INVARIANT: a question sent right behind an answer finds its turn."""
    keeper, streams = Keeper(), Streams()
    publish = streams.publish

    async def watch(subject: str, message: Message, **fields: Any) -> Any:
        if getattr(message, "type", "") == "done":
            assert len(keeper.kept) == 1
        return await publish(subject, message, **fields)

    streams.publish = watch  # type: ignore[method-assign]
    answer = await ask(keeper, streams)
    (turn,) = keeper.kept
    assert (turn.tenant, turn.conversation_id, turn.query_id) == ("acme", "c1", "q1")
    assert (turn.question, turn.stand_alone) == (FOLLOW_UP, BY_RULE)
    assert (turn.answer, turn.citations) == (answer.answer, answer.citations)
    assert turn.version > 0


async def test_a_question_of_no_conversation_asks_for_no_history_and_leaves_none() -> None:
    keeper, streams = Keeper(), Streams()
    answer = await ask(keeper, streams, text=ALONE, conversation_id=None)
    assert answer.answered
    assert (answer.conversation_id, answer.steps, keeper.kept) == (None, [], [])
    assert not any(isinstance(request, HistoryQuery) for request in keeper.requests)


async def test_the_first_question_of_a_conversation_is_not_rewritten() -> None:
    keeper, streams, model = Keeper(turns=()), Streams(), ScriptedModel()
    await ask(keeper, streams, ModelRewriter(model, LIMITS), text=ALONE)
    assert (steps(streams), model.requests) == ([], [])
    assert keeper.kept[0].stand_alone is None


async def test_what_rewriting_cost_is_in_the_usage() -> None:
    keeper, streams = Keeper(), Streams()
    answer = await ask(keeper, streams, ModelRewriter(ScriptedModel(ALONE), LIMITS))
    assert answer.usage == {"input_tokens": 50, "output_tokens": 5, "llm_calls": 1, "cost": 0.5}


async def test_a_model_that_cannot_rewrite_leaves_the_question_and_says_so() -> None:
    keeper, streams = Keeper(), Streams()
    model = ScriptedModel(LlmUnavailable("away"))
    answer = await ask(keeper, streams, ModelRewriter(model, LIMITS), text=ALONE)
    assert answer.answered
    assert steps(streams) == answer.steps == [{"kind": "not_rewritten", "code": "llm_unavailable"}]


async def test_without_its_history_a_question_is_answered_as_it_is_and_says_so() -> None:
    keeper, streams = Keeper(), Streams()
    keeper.history_failure = Unavailable("persistence is away")
    answer = await ask(keeper, streams, text=ALONE)
    assert answer.answered
    assert answer.steps == [{"kind": "not_rewritten", "code": "dependency_unavailable"}]


async def test_a_deleted_conversation_is_refused() -> None:
    keeper, streams = Keeper(), Streams()
    keeper.history_failure = Rejected("deleted", code="conversation_deleted", field="conversation_id")
    with pytest.raises(Rejected, match="deleted"):
        await ask(keeper, streams)


@pytest.mark.parametrize("script", [(ALONE,), (LlmUnavailable("away"),)])
async def test_a_second_delivery_goes_on_with_the_question_that_the_first_one_told(script: tuple[Any, ...]) -> None:
    """INVARIANT: effects happen once: another wording would be another question, and another bill."""
    keeper, streams, model = Keeper(), Streams(), ScriptedModel(*script)
    keeper.failures.append(Unavailable("the retriever is away"))
    with pytest.raises(Unavailable):
        await ask(keeper, streams, ModelRewriter(model, LIMITS))
    answer = await ask(keeper, streams, ModelRewriter(model, LIMITS))
    assert len(model.requests) == 1
    assert len(steps(streams)) == 1
    assert answer.steps == steps(streams)


async def test_of_two_deliveries_the_later_one_s_turn_is_the_higher() -> None:
    """INVARIANT: what the history holds is what the caller was told."""
    keeper, streams = Keeper(), Streams()
    publish = streams.publish

    async def broken(subject: str, message: Message, **fields: Any) -> Any:
        if getattr(message, "type", "") == "done":
            raise Unavailable("the broker is away")
        return await publish(subject, message, **fields)

    streams.publish = broken  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await ask(keeper, streams)
    streams.publish = publish  # type: ignore[method-assign]
    await ask(keeper, streams)
    first, second = keeper.kept
    assert first.query_id == second.query_id
    assert first.version < second.version


@pytest.mark.parametrize("failure", [Unavailable("away"), Overloaded("full"), RemoteFault("a bug")])
async def test_a_turn_that_is_not_recorded_at_once_waits_in_its_queue(failure: Exception) -> None:
    """INVARIANT: accepted is durable: the answer goes out, and the turn is recorded later."""
    keeper, streams = Keeper(), Streams()
    keeper.record_failure = failure
    answer = await ask(keeper, streams)
    (turn,) = streams.facts(subjects.CONVERSATION_TURNS)
    assert isinstance(turn, ConversationTurn)
    assert turn.answer == answer.answer
    kinds = [(subject, getattr(message, "type", "")) for subject, message, _ in streams.stored.values()]
    assert kinds.index((subjects.CONVERSATION_TURNS, "")) < kinds.index((subjects.answers("q1"), "done"))


@pytest.mark.parametrize("size", [480, 420])
async def test_a_turn_keeps_to_its_size(size: int) -> None:
    keeper, streams = Keeper(), Streams()
    answer = await ask(keeper, streams, turn_bytes=size)
    (turn,) = keeper.kept
    assert turn.shortened
    assert turn.citations == []
    assert len(turn.model_dump_json().encode()) <= size
    assert answer.citations
