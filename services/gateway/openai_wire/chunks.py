"""The chunks of a streamed chat completion, made of the events of an answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from contracts.codec import first_problem
from contracts.queries import Answer, AnswerEvent, AskQuestion
from services.gateway.openai_wire.chat import additions, completion_id, usage_of
from services.gateway.openai_wire.footnotes import footnotes
from services.gateway.openai_wire.schemas import ChatBody
from shared.errors import RemoteFault, Retryable


class AnswerRestarted(Retryable):
    """The text so far no longer counts, and a chunk that was sent cannot be taken back."""

    code = "answer_restarted"


class ChatChunks:
    """Makes the chunks of one completion; the text of an agent comes whole.

    The first names the role; the last but one brings the sources as footnotes, the last one `finish_reason` with
    `citations` and `answered`. When the caller wants the usage, a chunk without choices brings it at the end.
    `complete` tells that the last one was made.
    """

    def __init__(self, body: ChatBody, question: AskQuestion, created: int) -> None:
        self._body = body
        self._frame = {
            "id": completion_id(question),
            "object": "chat.completion.chunk",
            "created": created,
            "model": body.model,
        }
        # What an agent writes is often a remark beside a call, and taken back; `done` holds what stays.
        self._holds_text = question.mode == "agent"
        self._conversation_id = question.conversation_id
        self._begun = False
        self._text = ""
        self.complete = False

    def of(self, event: AnswerEvent) -> Iterator[dict[str, Any]]:
        """Yield the chunks of one event; raises AnswerRestarted when the caller has read what no longer counts."""
        if event.type == "delta" and not self._holds_text:
            yield from self._content(str(event.data.get("text", "")))
        elif event.type == "step" and event.data.get("kind") == "restarted" and self._text:
            raise AnswerRestarted("the answer had to begin anew after a part of it was sent; ask again")
        elif event.type == "done":
            yield from self._end(_answer_in(event))

    def _end(self, answer: Answer) -> Iterator[dict[str, Any]]:
        # An answer may come whole, without a delta before it.
        if answer.answer.startswith(self._text):
            yield from self._content(answer.answer[len(self._text) :])
        if self._body.footnotes:
            yield from self._content(footnotes(answer.citations))
        yield self._chunk(additions(answer), finish_reason="stop", conversation_id=self._conversation_id)
        if self._body.include_usage:
            yield {**self._frame, "choices": [], "usage": usage_of(answer)}
        self.complete = True

    def _content(self, text: str) -> Iterator[dict[str, Any]]:
        if not text:
            return
        if not self._begun:
            self._begun = True
            yield self._chunk({"role": "assistant", "content": "", "refusal": None})
        self._text += text
        yield self._chunk({"content": text})

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        usage = {"usage": None} if self._body.include_usage else {}
        return {**self._frame, "choices": [choice], **usage, **more}


def _answer_in(event: AnswerEvent) -> Answer:
    try:
        return Answer.model_validate(event.data)
    except ValidationError as error:
        raise RemoteFault(f"the answer breaks its schema: {first_problem(error)}") from None
