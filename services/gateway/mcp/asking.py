"""Asking a question for a caller of a tool, who may want to hear how far the answer is."""

from contextlib import aclosing
from typing import Any, Final

from contracts.queries import Answer, AnswerEvent, AskQuestion
from services.gateway.answers import answer_in
from services.gateway.mcp.tool import Call
from shared.errors import Unavailable

_STILL: Final = "still working on the answer"


async def ask(call: Call, question: AskQuestion) -> Answer:
    """Return the answer, and tell of its events those that mean something to a reader; raises what was told of errors.

    Unavailable when this process is about to end and the caller wants to hear of progress.
    """
    if not call.hears_progress:
        return await call.gateway.questions.ask(question)
    async with aclosing(call.gateway.questions.stream(question)) as events:
        async for event in events:
            if event is not None and event.terminal:
                return answer_in(event)
            await call.tell(_told(event))
    raise Unavailable("the gateway is about to end; ask again, another one answers")


def _told(event: AnswerEvent | None) -> str:
    if event is None:
        return _STILL
    if event.type == "accepted":
        return "the question is accepted"
    if event.type == "retrieval":
        return f"{len(event.data.get('hits', ()))} passages found"
    if event.type == "step":
        return _step(event.data)
    return "the answer is being written"


def _step(data: dict[str, Any]) -> str:
    if tool := data.get("tool"):
        return f"the agent used {tool}"
    return {"restarted": "the answer begins anew"}.get(str(data.get("kind")), _STILL)
