"""Answers of a language model: cited, checked, declined on weak evidence."""

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from contracts.queries import Answer
from contracts.retrieval import EmbedRequest
from services.agent.answering import Answering
from services.agent.events import AnswerEvents
from services.agent.generative_writer import GenerativeWriter, WritingLimits
from services.agent.llm import ContextTooLong, LlmUnavailable
from services.agent.metrics import AgentMetrics
from services.agent.writer import NOT_FOUND
from shared.errors import Unavailable
from tests.unit.agent.library import Library, Streams, conversations_of, question_of
from tests.unit.agent.scripted_model import ScriptedModel

LIMITS = WritingLimits(max_output_tokens=100, temperature=0.0, delta_seconds=0.0)
METRICS = AgentMetrics(NoOpMeterProvider().get_meter("test"))
QUESTION = "When did the harbour of Lindby open?"
GOOD = "The harbour of Lindby opened in 1887 [1]."


class FailingEmbedder(Library):
    """Retrieves, but embeds nothing."""

    async def embed(self, request: object, _deadline: float | None = None) -> object:  # type: ignore[override]
        raise Unavailable("no embedder")


async def answer_of(
    model: ScriptedModel, question: str = QUESTION, library: Library | None = None, streams: Streams | None = None
) -> tuple[Answer, Streams]:
    library, streams = library or Library(), streams or Streams()
    asked = question_of(question)
    answering = Answering(library, GenerativeWriter(model, library, METRICS, LIMITS), conversations_of(library))
    events = AnswerEvents(streams.publish, asked, {})
    return await answering.answer(asked, events, deadline=None), streams


async def test_an_answer_streams_and_cites_its_source() -> None:
    answer, streams = await answer_of(ScriptedModel(GOOD))
    assert (answer.answered, answer.answer) == (True, GOOD)
    (citation,) = answer.citations
    assert (citation.document_id, citation.quote) == ("harbour", "The harbour of Lindby opened in 1887.")
    assert answer.usage == {"input_tokens": 50, "output_tokens": 5, "llm_calls": 1, "cost": 0.5, "invented_markers": 0}
    kinds = [event.type for event in streams.events()]
    assert (kinds[:2], kinds[-2:]) == (["accepted", "retrieval"], ["citations", "done"])
    assert set(kinds[2:-2]) == {"delta"}
    assert "".join(event.data["text"] for event in streams.events() if event.type == "delta") == GOOD


async def test_the_model_is_told_the_passages_as_data_and_the_version_of_the_words() -> None:
    model = ScriptedModel(GOOD)
    await answer_of(model)
    rules, user = model.requests[0].messages
    assert rules.role == "system"
    assert "1887" not in rules.content
    assert "1887" in user.content
    assert user.content.endswith(f"Question: {QUESTION}")
    assert model.requests[0].prompt_version == "answer-1"


async def test_on_weak_evidence_the_model_is_not_even_asked() -> None:
    model = ScriptedModel()
    answer, streams = await answer_of(model, "Which enzyme unwinds DNA during replication?")
    assert answer == Answer(answer=NOT_FOUND, answered=False)
    assert model.requests == []
    assert streams.events()[-1].type == "done"
    assert (await answer_of(model, library=Library(texts={})))[0].answered is False


async def test_a_model_that_finds_no_answer_says_so_in_our_words() -> None:
    answer, _ = await answer_of(ScriptedModel("NO_ANSWER because the passages are about Lindby"))
    assert (answer.answer, answer.answered, answer.citations) == (NOT_FOUND, False, [])
    assert answer.usage["llm_calls"] == 1


async def test_invented_markers_are_gone_from_text_and_citations() -> None:
    answer, streams = await answer_of(ScriptedModel("The harbour of Lindby opened in 1887 [9][1]."))
    assert answer.answer == GOOD
    assert len(answer.citations) == 1
    assert "[9]" not in str(streams.events())


async def test_an_answer_without_markers_gets_the_sentence_it_came_from() -> None:
    answer, streams = await answer_of(ScriptedModel("The harbour of Lindby opened in 1887."))
    assert answer.answered
    assert answer.answer == "The harbour of Lindby opened in 1887. [1]"
    assert "".join(event.data["text"] for event in streams.events() if event.type == "delta") == answer.answer


async def test_an_answer_that_nothing_supports_does_not_count_as_answered() -> None:
    answer, _ = await answer_of(ScriptedModel("Quantum turtles migrate westwards every evening."))
    assert (answer.answered, answer.citations) == (False, [])


@pytest.mark.parametrize("library", [Library(), FailingEmbedder()])
async def test_a_claim_in_other_words_is_compared_by_vectors_where_there_are_any(library: Library) -> None:
    answer, _ = await answer_of(ScriptedModel("Ships could moor there from the late eighties on [1]."), library=library)
    assert answer.answered
    assert answer.citations[0].document_id == "harbour"
    assert any(isinstance(request, EmbedRequest) for request in library.requests)


async def test_an_endpoint_that_finds_the_context_too_long_gets_less() -> None:
    model = ScriptedModel(ContextTooLong("too long"), GOOD, window_tokens=400)
    answer, _ = await answer_of(model)
    assert answer.answered
    first, second = (len(request.messages[1].content) for request in model.requests)
    assert second < first


async def test_a_window_that_holds_no_passage_is_a_clear_problem() -> None:
    with pytest.raises(ContextTooLong, match="scripted"):
        await answer_of(ScriptedModel(window_tokens=120))


async def test_a_failure_of_the_endpoint_is_the_caller_s_problem_not_an_answer() -> None:
    streams = Streams()
    with pytest.raises(LlmUnavailable):
        await answer_of(ScriptedModel(LlmUnavailable("away")), streams=streams)
    assert [event.type for event in streams.events()] == ["accepted", "retrieval"]
