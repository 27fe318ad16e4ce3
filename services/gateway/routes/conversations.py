"""Conversations: listed, read, deleted."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from contracts.conversations import MAX_TURNS_LISTED, ConversationId, ConversationListQuery, ConversationQuery
from services.gateway.gateway import GatewayOf
from services.gateway.openapi import PROBLEMS
from services.gateway.principal import Scope, needs
from services.gateway.replies import message_reply
from services.gateway.schemas import DEFAULT_PAGE, MAX_PAGE
from services.gateway.talk_schemas import Conversation, ConversationDeleteReceipt, Conversations
from services.gateway.tenancy import Tenant

router = APIRouter(
    prefix="/v1/conversations", tags=["conversations"], responses=PROBLEMS, dependencies=[needs(Scope.QUERY)]
)

Id = Annotated[ConversationId, Path(description="The id that its questions were sent with.")]
Cursor = Annotated[str | None, Query(max_length=1024)]


@router.get("", summary="List conversations", responses={200: {"model": Conversations}})
async def list_conversations(
    tenant: Tenant,
    gateway: GatewayOf,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return a page of conversations, the one that was used last first."""
    query = ConversationListQuery(tenant=tenant, limit=limit, cursor=cursor)
    return message_reply(await gateway.talk.conversations(query))


@router.get("/{conversation_id}", summary="Read a conversation", responses={200: {"model": Conversation}})
async def read_conversation(
    conversation_id: Id,
    tenant: Tenant,
    gateway: GatewayOf,
    limit: Annotated[int, Query(ge=1, le=MAX_TURNS_LISTED)] = DEFAULT_PAGE,
    cursor: Cursor = None,
) -> Response:
    """Return a conversation with a page of its turns, oldest first."""
    query = ConversationQuery(tenant=tenant, conversation_id=conversation_id, limit=limit, cursor=cursor)
    return message_reply(await gateway.talk.conversation(query))


@router.delete(
    "/{conversation_id}", summary="Delete a conversation", responses={200: {"model": ConversationDeleteReceipt}}
)
async def delete_conversation(conversation_id: Id, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Remove a conversation with its turns and the feedback to them; its id is not used again."""
    gone = await gateway.talk.delete(tenant, conversation_id)
    return message_reply(ConversationDeleteReceipt(id=conversation_id, turn_count=gone.turn_count))
