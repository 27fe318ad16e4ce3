"""Asking the retriever and the embedder on behalf of a question."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from contracts import subjects
from contracts.queries import AskQuestion
from contracts.retrieval import EmbedReply, EmbedRequest, RetrieveReply, RetrieveRequest
from services.agent.patience import Ask


async def retrieve(ask: Ask, question: AskQuestion, deadline: float | None) -> RetrieveReply:
    """Return the passages that fit a question; raises what the retriever raises."""
    request = RetrieveRequest(
        tenant=question.tenant,
        query=question.question,
        collection=question.collection,
        top_k=question.top_k,
        mode="hybrid",
        filter=question.filter,
    )
    return await ask(subjects.RETRIEVE, request, RetrieveReply, deadline=deadline)


def described(found: RetrieveReply) -> dict[str, Any]:
    """Return what a caller is told of the passages that were found."""
    fields = {"document_id", "chunk_id", "title", "score"}
    return {"hits": [hit.model_dump(include=fields) for hit in found.hits], "took_ms": found.took_ms}


async def vectors(ask: Ask, texts: Sequence[str], model: str | None, deadline: float | None) -> tuple[np.ndarray, str]:
    """Return the unit vectors of texts, shape (n, dimension), and the fingerprint of the model they are from.

    A question goes as a passage too: one request for all of them, and it chooses as well as with its prefix.
    """
    request = EmbedRequest(texts=list(texts), kind="passage", model=model)
    reply = await ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=deadline)
    return np.array([np.frombuffer(vector, dtype="<f4") for vector in reply.vectors]), reply.model
