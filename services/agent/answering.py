"""Answering one question: retrieve, choose sentences, cite them, and tell the caller of each step."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from contracts import subjects
from contracts.queries import Answer, AskQuestion, Citation
from contracts.retrieval import EmbedReply, EmbedRequest, RetrieveReply, RetrieveRequest
from services.agent.calibration import calibration_of
from services.agent.events import AnswerEvents
from services.agent.extractive import Candidate, candidates, select
from services.agent.patience import Ask
from shared.errors import Rejected

NOT_FOUND: Final = "I found nothing in the documents that answers this question."


class Answering:
    """Answers from the sentences of the documents; `ask` reaches retriever and embedder."""

    def __init__(self, ask: Ask, *, max_embedded_sentences: int) -> None:
        self._ask = ask
        self._max_embedded_sentences = max_embedded_sentences

    async def answer(self, question: AskQuestion, events: AnswerEvents, deadline: float | None) -> Answer:
        """Return the answer after sending its events; raises shared.errors when there can be none.

        The same question over the same documents gets the same answer.
        """
        await events.send("accepted")
        if question.mode != "rag":
            raise Rejected(f"mode {question.mode!r} is not available; use 'rag'", code="not_available", field="mode")
        found = await self._retrieve(question, deadline)
        await events.send("retrieval", _retrieval(found))
        answer = _answer(await self._select(question.question, found, deadline))
        await events.send("delta", {"text": answer.answer})
        await events.send("citations", {"citations": [citation.model_dump() for citation in answer.citations]})
        await events.send("done", answer.model_dump())
        return answer

    async def _retrieve(self, question: AskQuestion, deadline: float | None) -> RetrieveReply:
        request = RetrieveRequest(
            tenant=question.tenant,
            query=question.question,
            collection=question.collection,
            top_k=question.top_k,
            mode="hybrid",
            filter=question.filter,
        )
        return await self._ask(subjects.RETRIEVE, request, RetrieveReply, deadline=deadline)

    async def _select(self, question: str, found: RetrieveReply, deadline: float | None) -> Sequence[Candidate]:
        ranked = candidates(question, found.hits, limit=self._max_embedded_sentences)
        if not ranked:
            return ()
        texts = [question, *(candidate.embedded_text for candidate in ranked)]
        # The question goes as a passage too: one request for all of them, and it chooses as well as with its prefix.
        request = EmbedRequest(texts=texts, kind="passage", model=found.model)
        reply = await self._ask(subjects.EMBED_QUERY, request, EmbedReply, deadline=deadline)
        return select(ranked, _similarities(reply), calibration_of(reply.model)).candidates


def _similarities(reply: EmbedReply) -> list[float]:
    """Return the cosine of the first vector to each of the others; vectors have unit length."""
    vectors = np.array([np.frombuffer(vector, dtype="<f4") for vector in reply.vectors])
    cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
    return cosines


def _answer(chosen: Sequence[Candidate]) -> Answer:
    if not chosen:
        return Answer(answer=NOT_FOUND, answered=False)
    sentences = [f"{' '.join(candidate.sentence.text.split())} [{n}]" for n, candidate in enumerate(chosen, 1)]
    citations = [_citation(n, candidate) for n, candidate in enumerate(chosen, 1)]
    return Answer(answer=" ".join(sentences), answered=True, citations=citations)


def _citation(n: int, candidate: Candidate) -> Citation:
    chunk = candidate.chunk
    return Citation(
        n=n,
        document_id=chunk.document_id,
        chunk_id=chunk.chunk_id,
        title=chunk.title,
        uri=chunk.uri,
        quote=candidate.sentence.text,
    )


def _retrieval(found: RetrieveReply) -> dict[str, Any]:
    fields = {"document_id", "chunk_id", "title", "score"}
    return {"hits": [hit.model_dump(include=fields) for hit in found.hits], "took_ms": found.took_ms}
