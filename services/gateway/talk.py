"""Conversations and feedback, asked for one tenant."""

import uuid

from contracts import subjects
from contracts.conversations import (
    AskedQuery,
    ConversationContent,
    ConversationDelete,
    ConversationDeleted,
    ConversationListQuery,
    ConversationPage,
    ConversationQuery,
    QueryLookup,
)
from contracts.facts import FeedbackGiven
from services.gateway.nats_asked import LatelyAsked
from services.gateway.nats_intake import Intake
from services.gateway.talk_schemas import FeedbackBody
from shared.errors import NotFound
from shared.messaging.publishing import Publisher
from shared.messaging.requests import Requester


class Talk:
    """Reads and deletes conversations, takes feedback; raises Unavailable when persistence does not answer."""

    def __init__(self, requester: Requester, publisher: Publisher, lately: LatelyAsked, turns: Intake) -> None:
        self._requester = requester
        self._turns = turns
        self._publisher = publisher
        self._lately = lately

    async def conversations(self, query: ConversationListQuery) -> ConversationPage:
        """Return a page of conversations."""
        return await self._requester.ask(subjects.READ_CONVERSATIONS, query, ConversationPage)

    async def conversation(self, query: ConversationQuery) -> ConversationContent:
        """Return a conversation with a page of its turns; NotFound when the tenant has none of this id."""
        return await self._requester.ask(subjects.READ_CONVERSATION, query, ConversationContent)

    async def delete(self, tenant: str, conversation_id: str) -> ConversationDeleted:
        """Delete a conversation for good; NotFound when the tenant has none of this id.

        Unavailable (`not_recorded_yet`) while turns wait to be recorded that it may consist of.
        """
        request = ConversationDelete(tenant=tenant, conversation_id=conversation_id)
        try:
            return await self._requester.ask(subjects.DELETE_CONVERSATION, request, ConversationDeleted)
        except NotFound:
            await self._turns.catch_up()
            return await self._requester.ask(subjects.DELETE_CONVERSATION, request, ConversationDeleted)

    async def rate(self, tenant: str, body: FeedbackBody) -> None:
        """Store what somebody thinks of an answer; NotFound (`query_not_found`) when the tenant has no such query."""
        query = await self._query(tenant, body.query_id)
        fact = FeedbackGiven(
            tenant=tenant,
            query_id=query.query_id,
            rating=body.rating,
            comment=body.comment,
            trace_id=query.trace_id,
            conversation_id=query.conversation_id,
        )
        await self._publisher.publish(
            subjects.FEEDBACK_GIVEN, fact, tenant=tenant, message_id=f"{query.query_id}:feedback:{uuid.uuid4().hex}"
        )

    async def _query(self, tenant: str, query_id: str) -> AskedQuery:
        """Persistence knows every query moments after its end; until then its answer is still in the stream."""
        lately = await self._lately.find(tenant, query_id)
        if lately is not None:
            return lately
        return await self._requester.ask(subjects.READ_QUERY, QueryLookup(tenant=tenant, query_id=query_id), AskedQuery)
