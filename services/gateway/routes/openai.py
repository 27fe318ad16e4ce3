"""OpenAI's wire format: chats, embeddings and the models that can be named in them."""

import time
import uuid
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from contracts.queries import AskQuestion
from services.gateway.bodies import read_json, run_sized
from services.gateway.direct_route import DirectRoute
from services.gateway.event_stream import EventStream
from services.gateway.gateway import Gateway, GatewayOf
from services.gateway.openai_wire import models
from services.gateway.openai_wire.chat import completion_of, question_of
from services.gateway.openai_wire.chunks import ChatChunks
from services.gateway.openai_wire.embeddings import Embedded
from services.gateway.openai_wire.schemas import (
    ChatBody,
    ChatCompletion,
    EmbeddingList,
    EmbeddingsBody,
    Model,
    ModelList,
)
from services.gateway.openai_wire.streaming import chunk_events
from services.gateway.openapi import EVENT_STREAM, OPENAI_ERRORS, body_of
from services.gateway.presence import while_connected
from services.gateway.principal import Scope, needs
from services.gateway.replies import json_reply
from services.gateway.tenancy import Tenant
from shared.errors import Retryable
from shared.logs import get_logger

log = get_logger(__name__)
router = APIRouter(
    route_class=DirectRoute, tags=["OpenAI wire format"], responses=OPENAI_ERRORS, dependencies=[needs(Scope.QUERY)]
)


@router.post(
    "/v1/chat/completions",
    summary="Go on with a chat",
    openapi_extra=body_of(ChatBody),
    responses={200: {"model": ChatCompletion, "content": EVENT_STREAM}},
)
async def complete_chat(request: Request, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Answer the last message of a chat from the documents, with the sources as footnotes and in `citations`."""
    body = await read_json(request, ChatBody)
    created = int(time.time())
    question = question_of(body, tenant, uuid.uuid4().hex)
    if body.stream:
        sources = partial(_require_sources, gateway, question)
        events = chunk_events(gateway.questions.stream(question), ChatChunks(body, question, created), sources)
        return await while_connected(request, EventStream.begin(events))
    answer = await while_connected(request, gateway.questions.ask(question))
    if not answer.answered:
        await _require_sources(gateway, question)
    return json_reply(completion_of(body, question, answer, created))


@router.post(
    "/v1/embeddings",
    summary="Embed texts",
    openapi_extra=body_of(EmbeddingsBody),
    responses={200: {"model": EmbeddingList}},
)
async def embed(request: Request, _tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return the vectors that the platform's embedding model makes of texts."""
    body = await read_json(request, EmbeddingsBody)
    embedded = await while_connected(request, gateway.embeddings.embed(body))
    size_bytes = sum(map(len, embedded.vectors))
    return Response(await run_sized(size_bytes, Embedded.as_json, embedded), media_type="application/json")


@router.get("/v1/models", summary="List models", responses={200: {"model": ModelList}})
async def list_models(tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return the ways to answer, over everything and over each collection, and the embedding model."""
    found = await gateway.reads.collections(tenant)
    names = sorted(collection.name for collection in found.items)
    return json_reply(
        models.listed(names[: gateway.settings.gateway_max_listed_collections], await _embedding(gateway))
    )


@router.get("/v1/models/{name:path}", summary="Look at a model", responses={200: {"model": Model}})
async def read_model(name: str, tenant: Tenant, gateway: GatewayOf) -> Response:
    """Return a model."""
    if name.partition(":")[0] not in models.MODES:
        await gateway.embeddings.named(name)
    elif (collection := models.chat_model(name).collection) is not None:
        await gateway.reads.require_collection(tenant, collection)
    return json_reply(models.described(name))


async def _require_sources(gateway: Gateway, question: AskQuestion) -> None:
    """Raise NotFound when the question names a collection that does not exist."""
    if question.collection is not None:
        await gateway.reads.require_collection(question.tenant, question.collection)


async def _embedding(gateway: Gateway) -> list[str]:
    """Return the names of the embedding model; without an embedder only the one that always holds."""
    try:
        model = await gateway.embeddings.model()
    except Retryable as error:
        log.warning("embedding_model_not_known", reason=error)
        return [models.DEFAULT_EMBEDDING]
    return [models.DEFAULT_EMBEDDING, model.name]
