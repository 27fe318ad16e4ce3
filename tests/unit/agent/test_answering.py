"""Answering: the events a caller sees, in order, and what they hold."""

import pytest

from contracts.queries import Answer
from contracts.retrieval import EmbedRequest, RetrieveRequest
from services.agent.answering import Answering
from services.agent.events import AnswerEvents, Told
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.writer import NOT_FOUND
from shared.errors import Rejected
from tests.unit.agent.library import TEXTS, Library, Streams, conversations_of, question_of

ANSWERABLE = "When did the harbour of Lindby open?"
UNANSWERABLE = "Which enzyme unwinds DNA during replication?"


async def ask(text: str, library: Library | None = None, streams: Streams | None = None, **fields: object) -> Streams:
    streams = streams or Streams()
    question = question_of(text, **fields)
    library = library or Library()
    answering = Answering(library, ExtractiveWriter(library, max_embedded_sentences=8), conversations_of(library))
    events = AnswerEvents(streams.publish, question, {}, await streams.recall(question.query_id))
    await answering.answer(question, events, deadline=None)
    return streams


@pytest.mark.parametrize("text", [ANSWERABLE, UNANSWERABLE])
async def test_events_come_in_the_declared_order_numbered_from_one(text: str) -> None:
    events = (await ask(text)).events()
    assert [event.type for event in events] == ["accepted", "retrieval", "delta", "citations", "done"]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]


async def test_the_answer_cites_each_of_its_sentences() -> None:
    events = (await ask(ANSWERABLE)).events()
    answer = Answer.model_validate(events[-1].data)
    assert answer.answered
    assert answer.answer.startswith("The harbour of Lindby opened in 1887. [1]")
    assert [citation.n for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    first = answer.citations[0]
    assert (first.document_id, first.chunk_id, first.title) == ("harbour", "harbour-0", "Harbour")
    assert first.uri == "https://lindby.example/harbour"
    for citation in answer.citations:
        assert f"[{citation.n}]" in answer.answer
        assert citation.quote in TEXTS[citation.document_id]


async def test_the_events_on_the_way_hold_what_the_last_one_holds() -> None:
    _, retrieval, delta, citations, done = (await ask(ANSWERABLE)).events()
    assert delta.data == {"text": done.data["answer"]}
    assert citations.data == {"citations": done.data["citations"]}
    assert retrieval.data["hits"][0]["document_id"] == "harbour"
    assert set(retrieval.data["hits"][0]) == {"document_id", "chunk_id", "title", "score"}
    assert retrieval.data["took_ms"] == {"index": 1.0}


@pytest.mark.parametrize(("text", "library"), [(UNANSWERABLE, Library()), (ANSWERABLE, Library(texts={}))])
async def test_without_evidence_it_says_so_and_cites_nothing(text: str, library: Library) -> None:
    done = (await ask(text, library)).events()[-1]
    assert Answer.model_validate(done.data) == Answer(answer=NOT_FOUND, answered=False)


async def test_an_empty_index_costs_no_embedding() -> None:
    library = Library(texts={})
    await ask(ANSWERABLE, library)
    assert [type(request) for request in library.requests] == [RetrieveRequest]


async def test_one_search_and_one_embedding_answer_a_question() -> None:
    library = Library()
    await ask(ANSWERABLE, library, collection="towns", top_k=2, filter={"year": 2026})
    search, embedding = library.requests
    assert search == RetrieveRequest(
        tenant="acme", query=ANSWERABLE, collection="towns", top_k=2, mode="hybrid", filter={"year": 2026}
    )
    assert isinstance(embedding, EmbedRequest)
    assert embedding.kind == "passage"
    assert embedding.texts[0] == ANSWERABLE
    assert len(embedding.texts) <= 9


async def test_the_agent_mode_needs_a_language_model_and_says_which_setting_names_one() -> None:
    streams = Streams()
    with pytest.raises(Rejected) as raised:
        await ask(ANSWERABLE, streams=streams, mode="agent")
    assert (raised.value.error_code, raised.value.field) == ("not_available", "mode")
    assert "RAG_LLM_BASE_URL" in raised.value.message
    assert [event.type for event in streams.events()] == ["accepted"]


async def test_a_question_that_comes_twice_gets_the_same_text_once() -> None:
    """INVARIANT: effects happen once. An answer that drew on a clock or on chance would tell two stories."""
    streams = await ask(ANSWERABLE)
    once = streams.events()
    again = (await ask(ANSWERABLE, streams=streams)).events()
    assert again[-1].data == once[-1].data
    assert Told(tuple(again)).text == once[-1].data["answer"]
    assert [event.type for event in again].count("delta") == 1
