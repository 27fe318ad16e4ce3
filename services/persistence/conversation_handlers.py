"""What is answered and consumed about conversations, questions and feedback."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from contracts import subjects, topology
from contracts.codec import decode
from contracts.conversations import (
    AskedQuery,
    ConversationContent,
    ConversationDelete,
    ConversationDeleted,
    ConversationListQuery,
    ConversationPage,
    ConversationQuery,
    ConversationTurn,
    HistoryQuery,
    HistoryReply,
    QueryLookup,
    RecordReply,
)
from contracts.facts import FeedbackGiven, QueryAnswered, QueryFailed
from services.persistence import conversations, feedback
from services.persistence.conversations import key_of_conversation
from services.persistence.read_pool import ReadPool
from services.persistence.settings import PersistenceSettings
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.messaging.delivery import Delivery
from shared.service import Service
from shared.telemetry import trace_id_in

log = get_logger(__name__)
OnFact = Callable[[Delivery], Awaitable[None]]


class ConversationHandlers:
    """One method per request or message; a turn and a query are stored once, however often they come."""

    def __init__(self, writer: GroupCommit, pool: ReadPool, *, max_turns: int, max_page_bytes: int) -> None:
        self._writer = writer
        self._pool = pool
        self._max_turns = max_turns
        self._max_page_bytes = max_page_bytes

    async def on_record(self, turn: ConversationTurn, _deadline: float | None) -> RecordReply:
        """Store a turn whose answer is about to be given; Unavailable at once when the database is known to be away."""
        if self._writer.outage is not None:
            raise Unavailable(self._writer.outage, code="database_unavailable", away=True)
        return RecordReply(kept=await self._keep(turn))

    async def on_turn(self, turn: ConversationTurn, _delivery: Delivery) -> None:
        """Store a turn that could not be recorded when its answer was given."""
        if not await self._keep(turn):
            log.info("turn_of_deleted_conversation", tenant=turn.tenant, query_id=turn.query_id)

    async def on_history(self, query: HistoryQuery, _deadline: float | None) -> HistoryReply:
        """Return what was said last."""
        return await self._pool.run(partial(conversations.history, query=query))

    async def on_list(self, query: ConversationListQuery, _deadline: float | None) -> ConversationPage:
        """Return a page of conversations."""
        return await self._pool.run(partial(conversations.page, query=query))

    async def on_read(self, query: ConversationQuery, _deadline: float | None) -> ConversationContent:
        """Return a conversation with a page of its turns."""
        return await self._pool.run(partial(conversations.content, query=query, max_bytes=self._max_page_bytes))

    async def on_delete(self, request: ConversationDelete, _deadline: float | None) -> ConversationDeleted:
        """Remove a conversation."""
        unit = partial(conversations.delete_conversation, request=request, at=datetime.now(UTC))
        return await self._writer.run(key_of_conversation(request.tenant, request.conversation_id), unit)

    async def on_query(self, query: QueryLookup, _deadline: float | None) -> AskedQuery:
        """Return what is known of a question."""
        return await self._pool.run(partial(feedback.asked_query, query=query))

    async def on_ended(self, fact: QueryAnswered | QueryFailed, delivery: Delivery) -> None:
        """Remember a question, so that its answer may be rated."""
        trace_id = trace_id_in(delivery.headers.get(subjects.HEADER_TRACEPARENT))
        unit = partial(feedback.remember_query, fact=fact, trace_id=trace_id)
        await self._writer.run(f"query\n{fact.tenant}\n{fact.query_id}", unit)

    async def on_feedback(self, fact: FeedbackGiven, delivery: Delivery) -> None:
        """Store a rating; the broker's clock tells which of several is the last one."""
        given_at = datetime.fromtimestamp(delivery.published_at, UTC)
        # One key for all that a conversation's lock is taken for, so that no two transactions wait for each other.
        key = key_of_conversation(fact.tenant, fact.conversation_id or f"of query {fact.query_id}")
        await self._writer.run(key, partial(feedback.keep_feedback, fact=fact, given_at=given_at))

    async def _keep(self, turn: ConversationTurn) -> bool:
        unit = partial(conversations.keep_turn, turn=turn, max_turns=self._max_turns)
        return await self._writer.run(key_of_conversation(turn.tenant, turn.conversation_id), unit)

    def facts(self, otherwise: OnFact) -> OnFact:
        """Return what takes every fact: those about questions go here, `otherwise` takes the rest."""

        async def on_fact(delivery: Delivery) -> None:
            if delivery.subject == subjects.QUERY_ANSWERED:
                await self.on_ended(decode(QueryAnswered, delivery.payload), delivery)
            elif delivery.subject == subjects.QUERY_FAILED:
                await self.on_ended(decode(QueryFailed, delivery.payload), delivery)
            elif delivery.subject == subjects.FEEDBACK_GIVEN:
                await self.on_feedback(decode(FeedbackGiven, delivery.payload), delivery)
            else:
                await otherwise(delivery)

        return on_fact


def serve_conversations(
    service: Service, writer: GroupCommit, pool: ReadPool, settings: PersistenceSettings
) -> ConversationHandlers:
    """Bind what is about conversations; return what takes the facts about questions."""
    handlers = ConversationHandlers(
        writer,
        pool,
        max_turns=settings.persistence_conversation_max_turns,
        max_page_bytes=settings.persistence_max_page_bytes,
    )
    service.consume(topology.TURNS, ConversationTurn, handlers.on_turn, workers=settings.persistence_workers)
    service.respond(subjects.RECORD_TURN, ConversationTurn, handlers.on_record)
    service.respond(subjects.CONVERSATION_HISTORY, HistoryQuery, handlers.on_history)
    service.respond(subjects.READ_CONVERSATIONS, ConversationListQuery, handlers.on_list)
    service.respond(subjects.READ_CONVERSATION, ConversationQuery, handlers.on_read)
    service.respond(subjects.DELETE_CONVERSATION, ConversationDelete, handlers.on_delete)
    service.respond(subjects.READ_QUERY, QueryLookup, handlers.on_query)
    return handlers
