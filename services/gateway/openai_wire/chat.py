"""A chat as a question with its history, and an answer as a chat completion."""

from collections.abc import Sequence
from typing import Any, Final

from contracts.queries import MAX_HISTORY_TURNS, MAX_TURN_CHARACTERS, Answer, AskQuestion, HistoryTurn
from services.gateway.conversation_ids import conversation_of
from services.gateway.openai_wire.footnotes import footnotes, without_footnotes
from services.gateway.openai_wire.models import chat_model
from services.gateway.openai_wire.parameters import require_supported
from services.gateway.openai_wire.schemas import ChatBody, ChatMessage
from services.gateway.schemas import MAX_QUERY_CHARACTERS
from shared.errors import InvalidMessage, Rejected

# The history travels with its question through a queue in memory.
MAX_HISTORY_CHARACTERS: Final = 32_000
_INSTRUCTIONS: Final = ("system", "developer")


def question_of(body: ChatBody, tenant: str, query_id: str) -> AskQuestion:
    """Return the question that a chat ends with; raises Rejected and NotFound that name the parameter at fault.

    In a conversation that is stored, its own history counts and not the one that the caller sends.
    """
    require_supported(body.model_extra or {})
    if body.stream_options is not None and not body.stream:
        raise InvalidMessage("only a request with `stream: true` may have it", field="stream_options")
    model = chat_model(body.model)
    said = [_said(message, f"messages.{index}") for index, message in enumerate(body.messages)]
    spoken = [part for part in said if part[0] not in _INSTRUCTIONS]
    if not spoken:
        raise InvalidMessage("there is no message from the user", field="messages")
    return AskQuestion(
        tenant=tenant,
        query_id=query_id,
        question=_checked_question(*spoken[-1]),
        collection=model.collection,
        mode=model.mode,
        conversation_id=conversation_of(body.conversation_id),
        top_k=body.top_k,
        filter=body.filter,
        history=[] if body.conversation_id else history_of([(role, text) for role, text, _ in spoken[:-1]]),
    )


def history_of(said: Sequence[tuple[str, str]]) -> list[HistoryTurn]:
    """Return the latest turns of what user and assistant said, (role, text), as many as are taken along.

    A greeting that nobody asked for is left out; texts that are too long are cut.
    """
    turns: list[tuple[str, list[str]]] = []
    for role, text in said:
        if role == "user" and text.strip():
            turns.append((text, []))
        elif role == "assistant" and turns:
            turns[-1][1].append(without_footnotes(text))
    return _latest([(question, "\n\n".join(answers).strip()) for question, answers in turns[-MAX_HISTORY_TURNS:]])


def completion_of(body: ChatBody, question: AskQuestion, answer: Answer, created: int) -> dict[str, Any]:
    """Return an answer as a chat completion."""
    text = answer.answer + (footnotes(answer.citations) if body.footnotes else "")
    message = {"role": "assistant", "content": text, "refusal": None, **additions(answer)}
    return {
        "id": completion_id(question),
        "object": "chat.completion",
        "created": created,
        "model": body.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": usage_of(answer),
        "conversation_id": question.conversation_id,
    }


def completion_id(question: AskQuestion) -> str:
    """Return the id of a question's completion."""
    return f"chatcmpl-{question.query_id}"


def additions(answer: Answer) -> dict[str, Any]:
    """Return what a message says beyond OpenAI's format."""
    return {"citations": [citation.model_dump() for citation in answer.citations], "answered": answer.answered}


def usage_of(answer: Answer) -> dict[str, int]:
    """Return the tokens that the language model read and wrote."""
    read, written = int(answer.usage.get("input_tokens", 0)), int(answer.usage.get("output_tokens", 0))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _said(message: ChatMessage, field: str) -> tuple[str, str, str]:
    """Return role, text and place of a message."""
    if message.role in ("tool", "function"):
        reason = f"messages of role {message.role!r} are not supported"
        raise Rejected(reason, code="unsupported_parameter", field=f"{field}.role")
    for number, part in enumerate(message.content):
        if part.type != "text":
            reason = f"content of type {part.type!r} is not supported; send text"
            raise Rejected(reason, code="unsupported_content", field=f"{field}.content.{number}")
    return message.role, "\n".join(part.text for part in message.content if part.text), field


def _checked_question(role: str, text: str, field: str) -> str:
    if role != "user":
        raise InvalidMessage("the last message must be the user's: it is the question", field=f"{field}.role")
    if not text.strip():
        raise InvalidMessage("the question is empty", field=f"{field}.content")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise InvalidMessage(f"a question has at most {MAX_QUERY_CHARACTERS} characters", field=f"{field}.content")
    return text


def _latest(turns: Sequence[tuple[str, str]]) -> list[HistoryTurn]:
    kept: list[HistoryTurn] = []
    room = MAX_HISTORY_CHARACTERS
    for texts in reversed(turns):
        question, answer = (text[:MAX_TURN_CHARACTERS] for text in texts)
        room -= len(question) + len(answer)
        if room < 0:
            break
        kept.insert(0, HistoryTurn(question=question, answer=answer))
    return kept
