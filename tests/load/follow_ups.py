"""What rewriting by rule does for follow-up questions, with the real embedding model and the extractive answerer.

    python -m tests.load.follow_ups

Asks each made question behind the ones before it: as it is, behind the whole question before, and rewritten by rule.
Prints how many cite the sentence that answers, first or at all; `alone` are questions that stand by themselves.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from contracts.conversations import PastTurn
from contracts.messages import Message
from contracts.queries import Answer, AskQuestion
from contracts.retrieval import EmbedReply, EmbedRequest, RetrievedChunk, RetrieveReply
from services.agent.events import AnswerEvents
from services.agent.extractive_writer import ExtractiveWriter
from services.agent.follow_ups import stand_alone
from services.embedder.onnx_embedding import OnnxEmbedding
from tests.load.follow_up_talks import ALONE, DOCUMENTS, FOLLOW_UPS, UNSEEN_DOCUMENTS, UNSEEN_FOLLOW_UPS
from tests.load.reference import load_model
from tests.unit.agent.library import Streams

A = TypeVar("A", bound=Message)
Rewrite = Callable[[str, PastTurn], str]


def as_it_is(question: str, before: PastTurn) -> str:
    return question


def behind(question: str, before: PastTurn) -> str:
    return f"{before.question} {question}"


# How a question is rewritten, and whether its passages alone are found by that.
WAYS: Final[dict[str, tuple[Rewrite, bool]]] = {
    "as it is": (as_it_is, False),
    "behind the one before": (behind, False),
    "the same, for the search alone": (behind, True),
    "by rule": (stand_alone, False),
    "by rule, for the search alone": (stand_alone, True),
}


@dataclass(frozen=True)
class Result:
    """What a question was read as, and the place of the citation that answers it, -1 without."""

    kind: str
    question: str
    place: int


class Library:
    """Retriever and embedder in process: passages by cosine, as the platform's dense search finds them."""

    def __init__(self, model: OnnxEmbedding) -> None:
        self._model = model
        self._chunks = [
            RetrievedChunk(
                document_id=title,
                chunk_id=f"{title}-0",
                collection="default",
                revision=1,
                ordinal=0,
                title=title,
                text=text,
                score=0.0,
            )
            for title, text in {**DOCUMENTS, **UNSEEN_DOCUMENTS}.items()
        ]
        self._vectors = np.stack([model.embed(f"{chunk.title}\n{chunk.text}") for chunk in self._chunks])

    def find(self, query: str, top_k: int) -> RetrieveReply:
        """Return the nearest passages."""
        similar = self._vectors @ self._model.embed(self._model.query_prefix + query)
        best = np.argsort(-similar)[:top_k]
        hits = [
            self._chunks[at].model_copy(update={"score": float(similar[at]), "similarity": float(similar[at])})
            for at in best
        ]
        return RetrieveReply(hits=hits, took_ms={}, model=self._model.fingerprint)

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        assert isinstance(request, EmbedRequest)
        vectors = [np.asarray(self._model.embed(text), dtype="<f4").tobytes() for text in request.texts]
        found = EmbedReply(model=self._model.fingerprint, dimension=self._model.dimension, vectors=vectors)
        assert isinstance(found, reply)
        return found


async def answer(library: Library, question: str, chosen_by: str) -> Answer:
    asked = AskQuestion(tenant="t", query_id="q", question=chosen_by)
    writer = ExtractiveWriter(library, max_embedded_sentences=8)
    return await writer.write(asked, library.find(question, 5), AnswerEvents(Streams().publish, asked, {}), None)


async def talk(
    library: Library, turns: Sequence[tuple[str, str]], way: tuple[Rewrite, bool], kind: str
) -> list[Result]:
    """Ask the turns in order, each with the one before it at hand."""
    results = []
    rewrite, search_only = way
    before: PastTurn | None = None
    for asked, wanted in turns:
        question = rewrite(asked, before) if before else asked
        found = await answer(library, question, asked if search_only else question)
        quotes = [citation.quote for citation in found.citations]
        place = next((at for at, quote in enumerate(quotes) if quote.startswith(wanted)), -1)
        results.append(Result("first" if before is None else kind, question, place))
        before = PastTurn(question=question, answer=found.answer, answered=found.answered)
    return results


async def results(library: Library, way: tuple[Rewrite, bool]) -> list[Result]:
    found = [result for turns in FOLLOW_UPS for result in await talk(library, turns, way, "follow-up")]
    for turns in UNSEEN_FOLLOW_UPS:
        found += (await talk(library, turns, way, "unseen"))[1:]
    openers = [turns[0] for turns in FOLLOW_UPS]
    for number, alone in enumerate(ALONE):
        found += (await talk(library, [openers[number % len(openers)], alone], way, "alone"))[1:]
    return found


def rows(found: Sequence[Result]) -> Iterator[str]:
    for kind in ("first", "follow-up", "unseen", "alone"):
        of = [result for result in found if result.kind == kind]
        yield f"{sum(one.place == 0 for one in of)} / {sum(one.place >= 0 for one in of)} of {len(of)}"


def main() -> None:
    """Print the table; with -v what each question was read as."""
    library = Library(load_model())
    sys.stdout.write("| read | first questions | follow-ups | unseen | alone |\n|---|---|---|---|---|\n")
    for name, way in WAYS.items():
        found = asyncio.run(results(library, way))
        sys.stdout.write(f"| {name} | {' | '.join(rows(found))} |\n")
        if "-v" in sys.argv:
            for one in found:
                sys.stdout.write(f"    {one.place:2} {one.kind:9} {one.question}\n")


if __name__ == "__main__":
    main()
