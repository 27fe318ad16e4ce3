"""Conversations as the agent takes part in them: a question is read in the light of what was said, its turn is kept.

1. The last turns are read, and the question is rewritten to stand alone. If either fails, it is answered as it is, and
   a step says so.
2. Before `done` is told, the turn is recorded, so that a question right behind it finds it.
3. A turn that nobody records in time waits in a queue of its own until somebody does; the answer goes out meanwhile.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts import subjects
from contracts.conversations import ConversationTurn, HistoryQuery, HistoryReply, PastTurn, RecordReply
from contracts.messages import now
from contracts.queries import Answer, AskQuestion
from services.agent.events import AnswerEvents, Publish
from services.agent.llm import Usage
from services.agent.patience import Ask
from services.agent.rewriting import Rewriter
from shared.errors import DeadlineExpired, PlatformError, Retryable
from shared.logs import get_logger
from shared.telemetry import current_trace_id

log = get_logger(__name__)

REWRITTEN: Final = "rewritten"
NOT_REWRITTEN: Final = "not_rewritten"
NO_USAGE: Final = Usage()
CUT_OFF: Final = " \u2026"


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """How many turns are looked back at, how large one may be, and how long its recording may take, in seconds."""

    turns: int
    turn_bytes: int
    record_seconds: float


@dataclass(frozen=True, slots=True)
class Understood:
    """A question as it was asked, is searched and is answered; the step that was told of that, and what it cost."""

    asked: AskQuestion
    searched: AskQuestion
    answered: AskQuestion
    step: Mapping[str, Any] | None = None
    usage: Usage = NO_USAGE

    def completed(self, answer: Answer) -> Answer:
        """Return an answer with what understanding its question took."""
        steps = [dict(self.step), *answer.steps] if self.step else answer.steps
        spent = self.usage.told() if self.usage.calls else {}
        usage = {name: answer.usage.get(name, 0) + spent.get(name, 0) for name in {**answer.usage, **spent}}
        of = self.asked.conversation_id
        return answer.model_copy(update={"steps": steps, "usage": usage, "conversation_id": of})


def follows_on(question: AskQuestion) -> bool:
    """Tell whether something may have been said before a question."""
    return question.conversation_id is not None or bool(question.history)


class Conversations:
    """Reads and keeps conversations; `ask` reaches persistence, `publish` the queue of turns that wait."""

    def __init__(self, ask: Ask, publish: Publish, rewriter: Rewriter, limits: ConversationLimits) -> None:
        self._ask = ask
        self._publish = publish
        self._rewriter = rewriter
        self._limits = limits

    async def understand(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Understood:
        """Return the question as it stands alone; Rejected when its conversation was deleted."""
        if not follows_on(question):
            return Understood(question, question, question)
        known = events.told.step(REWRITTEN, NOT_REWRITTEN)
        if known is not None:
            return self._understood(question, known)
        try:
            turns = await self._history(question, deadline)
        except (Retryable, DeadlineExpired) as error:
            return await self._as_it_is(question, events, error)
        if not turns:
            return Understood(question, question, question)
        try:
            with events.waiting_for_model():
                found = await self._rewriter.rewrite(question.question, turns, question.query_id, deadline)
        except PlatformError as error:
            return await self._as_it_is(question, events, error)
        if found.question == question.question:
            return Understood(question, question, question, usage=found.usage)
        step = {"kind": REWRITTEN, "question": found.question}
        await events.send("step", step)
        return self._understood(question, step, found.usage)

    async def keep(self, understood: Understood, answer: Answer, events: AnswerEvents) -> None:
        """Have a turn recorded, at once or later; its last event but `done` must be told already."""
        if understood.asked.conversation_id is None:
            return
        turn = self._turn(understood, understood.asked.conversation_id, answer, events.place)
        try:
            until = time.time() + self._limits.record_seconds
            await self._ask(subjects.RECORD_TURN, turn, RecordReply, deadline=until)
        except PlatformError as error:
            log.warning("turn_recorded_later", query_id=turn.query_id, code=error.error_code)
            await self._record_later(turn)

    async def _as_it_is(self, question: AskQuestion, events: AnswerEvents, error: PlatformError) -> Understood:
        log.warning("question_not_rewritten", query_id=question.query_id, code=error.error_code, reason=error)
        step = {"kind": NOT_REWRITTEN, "code": error.error_code}
        await events.send("step", step)
        return self._understood(question, step)

    def _understood(self, question: AskQuestion, step: Mapping[str, Any], usage: Usage = NO_USAGE) -> Understood:
        searched = question.model_copy(update={"question": str(step.get("question", question.question))})
        answered = question if self._rewriter.for_search_only else searched
        return Understood(question, searched, answered, step, usage)

    async def _history(self, question: AskQuestion, deadline: float | None) -> list[PastTurn]:
        if question.conversation_id is None:
            return [
                PastTurn(question=turn.question, answer=turn.answer, answered=bool(turn.answer))
                for turn in question.history[-self._limits.turns :]
            ]
        query = HistoryQuery(
            tenant=question.tenant,
            conversation_id=question.conversation_id,
            query_id=question.query_id,
            turns=self._limits.turns,
        )
        return (await self._ask(subjects.CONVERSATION_HISTORY, query, HistoryReply, deadline=deadline)).turns

    async def _record_later(self, turn: ConversationTurn) -> None:
        try:
            await self._publish(
                subjects.CONVERSATION_TURNS,
                turn,
                tenant=turn.tenant,
                message_id=f"{turn.query_id}:{turn.version}:turn",
            )
        except PlatformError as error:
            # The caller has waited for this answer; that it is not in the history is the smaller loss.
            log.error("turn_not_kept", query_id=turn.query_id, code=error.error_code, reason=error)

    def _turn(self, understood: Understood, conversation_id: str, answer: Answer, place: int) -> ConversationTurn:
        question, searched = understood.asked, understood.searched.question
        turn = ConversationTurn(
            tenant=question.tenant,
            conversation_id=conversation_id,
            query_id=question.query_id,
            version=place,
            question=question.question,
            stand_alone=searched if searched != question.question else None,
            answer=answer.answer,
            answered=answer.answered,
            citations=answer.citations,
            trace_id=current_trace_id(),
            asked_at=question.asked_at,
            answered_at=now(),
        )
        return _fitting(turn, self._limits.turn_bytes)


def _fitting(turn: ConversationTurn, max_bytes: int) -> ConversationTurn:
    """Return a turn of at most so many bytes: first its citations go, then the end of its answer."""
    if len(turn.model_dump_json().encode()) <= max_bytes:
        return turn
    bare = turn.model_copy(update={"citations": [], "shortened": True})
    excess = len(bare.model_dump_json().encode()) - max_bytes
    if excess <= 0:
        return bare
    answer = turn.answer.encode()
    # A byte of the answer takes one in JSON, or more.
    room = max(0, len(answer) - excess - len(CUT_OFF.encode()))
    return bare.model_copy(update={"answer": answer[:room].decode("utf-8", "ignore") + CUT_OFF})
