"""The chunks that the events of an answer become."""

from typing import Any, Literal

import pytest

from contracts.queries import Answer, AnswerEvent, AnswerEventType, AskQuestion, Citation
from services.gateway.openai_wire.chunks import AnswerRestarted, ChatChunks
from services.gateway.openai_wire.schemas import ChatBody
from shared.errors import RemoteFault

CITATION = Citation(n=1, document_id="a", chunk_id="a-0", title="Water", uri="https://x/y", quote="It boils.")
ANSWER = Answer(
    answer="At 100 degrees [1].",
    answered=True,
    citations=[CITATION],
    usage={"input_tokens": 7.0, "output_tokens": 2.0, "cost": 0.5},
)
Event = tuple[AnswerEventType, dict[str, Any]]
RESTARTED: Event = ("step", {"kind": "restarted"})
SEARCHED: Event = ("step", {"kind": "tool", "name": "search_documents"})
DONE: Event = ("done", ANSWER.model_dump())


def delta(text: str) -> Event:
    return "delta", {"text": text}


def chunks_of(*events: Event, mode: Literal["rag", "agent"] = "rag", **fields: Any) -> list[dict[str, Any]]:
    body = ChatBody.model_validate({"model": "rag", "messages": [{"role": "user", "content": "When?"}], **fields})
    question = AskQuestion(
        tenant="acme", query_id="q1", question="When?", mode=mode, conversation_id=body.conversation_id
    )
    chunks = ChatChunks(body, question, 17)
    made = [
        chunk
        for number, (kind, data) in enumerate(events, 1)
        for chunk in chunks.of(AnswerEvent(query_id="q1", sequence=number, type=kind, data=data))
    ]
    assert chunks.complete is any(kind == "done" for kind, _ in events)
    return made


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


def test_the_chunks_of_an_answer_name_its_role_its_text_its_sources_and_its_end() -> None:
    made = chunks_of(("accepted", {}), ("retrieval", {}), delta("At 100"), delta(" degrees [1]."), DONE)
    assert [chunk["choices"][0]["delta"] for chunk in made] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "At 100"},
        {"content": " degrees [1]."},
        {"content": "\n\n[1] Water — https://x/y"},
        {"citations": [CITATION.model_dump()], "answered": True},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in made] == [None] * 4 + ["stop"]
    assert {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in made} == {
        ("chatcmpl-q1", "chat.completion.chunk", 17, "rag")
    }
    assert not any("usage" in chunk for chunk in made)


@pytest.mark.parametrize("said", [[], ["At 100"], ["At 100", " degrees [1]."]], ids=["nothing", "a part", "all"])
def test_whatever_was_said_before_the_end_the_text_is_whole(said: list[str]) -> None:
    assert text_of(chunks_of(*map(delta, said), DONE, footnotes=False)) == ANSWER.answer


def test_the_usage_comes_behind_the_last_chunk_when_it_is_wanted() -> None:
    *before, last = chunks_of(delta("At"), DONE, stream=True, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert [chunk["usage"] for chunk in before] == [None] * len(before)


def test_an_answer_that_begins_anew_is_an_error_once_a_part_of_it_was_sent() -> None:
    """INVARIANT: a chunk can't be taken back: with it the reader has claims whose markers mean other sources."""
    with pytest.raises(AnswerRestarted):
        chunks_of(delta("The harbour [1]"), RESTARTED)


def test_an_answer_that_begins_anew_before_anything_was_sent_just_begins() -> None:
    assert (
        text_of(chunks_of(("step", {"kind": "search"}), RESTARTED, delta("At"), DONE, footnotes=False)) == ANSWER.answer
    )


def test_remarks_that_an_agent_takes_back_are_never_sent() -> None:
    remark = delta("Let me look.")
    made = chunks_of(remark, RESTARTED, SEARCHED, delta("At 100"), DONE, mode="agent", footnotes=False)
    assert text_of(made) == ANSWER.answer


def test_no_answer_has_no_sources() -> None:
    made = chunks_of(delta("No."), ("done", {"answer": "No.", "answered": False}))
    assert made[-1]["choices"][0]["delta"] == {"citations": [], "answered": False}
    assert text_of(made) == "No."


def test_the_conversation_is_named_at_the_end() -> None:
    assert chunks_of(DONE, conversation_id="c-1")[-1]["conversation_id"] == "c-1"


def test_an_answer_that_cannot_be_read_is_a_fault_of_the_other_side() -> None:
    with pytest.raises(RemoteFault):
        chunks_of(("done", {"answer": 7}))
