"""Answers that were given before, for as long as no document has changed that they may rest on.

The key holds the epoch of what is searched, as the retriever tells it. It is read before anything is retrieved, and the
answer is kept under it: when something changes in between, the entry is kept under an epoch that nobody is told again,
which wastes the entry and shows nothing that is gone.
"""

import json
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic import ValidationError

from contracts.messages import Message
from contracts.queries import Answer, AskQuestion
from services.agent.epochs import Epochs
from services.agent.patience import Ask
from shared.caching.cache import Cache
from shared.caching.caching import Cached
from shared.caching.metrics import CacheMetrics

# Agents answer with tools, whose results no epoch of the index tells of.
_CACHED_MODES: Final = frozenset({"rag"})
_QUESTION_MARKS: Final = "?？؟"  # noqa: RUF001  # of writing systems that have their own


class MadeAnswer(Message):
    """An answer, and what its caller was told of the passages behind it."""

    retrieval: dict[str, Any]
    answer: Answer


Make = Callable[[], Awaitable[MadeAnswer]]


class AnswerCache:
    """Keeps answers of `writer` (which names all that decides about one beside the question) for `seconds`.

    `ask` reaches the retriever, which has `epoch_seconds` to tell the epoch; without one a question is answered anew.
    """

    def __init__(
        self, ask: Ask, cache: Cache, *, writer: str, seconds: float, epoch_seconds: float, metrics: CacheMetrics
    ) -> None:
        self._epochs = Epochs(ask, seconds=epoch_seconds)
        self._writer = writer
        self._answers = Cached[MadeAnswer](
            "answers", cache, encode=_encoded, decode=_decoded, seconds=seconds, metrics=metrics
        )

    async def get_or_make(
        self,
        question: AskQuestion,
        make: Make,
        deadline: float | None,
        *,
        missed: Callable[[], Awaitable[None]],
        answered: str | None = None,
    ) -> MadeAnswer:
        """Return what `make` returns, or what it returned before for the same question: that one is `cached`.

        A question that is being answered in this process is waited for. `answered` are the words that the answer
        replies to, where they are not those that are searched for. `missed` is called first where the answer is not
        known yet. Raises what `make` raises.
        """
        epoch = None
        if question.mode in _CACHED_MODES:
            epoch = await self._epochs.of(question.tenant, question.collection, deadline)
        if epoch is None:
            await missed()
            return await make()
        made_here = False

        async def make_here() -> MadeAnswer:
            nonlocal made_here
            made_here = True
            return await make()

        parts = (self._writer, epoch, *_parts(question), normalised(answered or question.question))
        made = await self._answers.get_or_make(question.tenant, parts, make_here, deadline=deadline, missed=missed)
        return made if made_here else _told_again(made)


def normalised(question: str) -> str:
    """Return what two questions share that ask the same: spacing, composed characters and closing marks don't count.

    Capitals do: `Polish` and `polish`, or `US` and `us`, are different words.
    """
    words = " ".join(unicodedata.normalize("NFC", question).split())
    return words.rstrip(f"{_QUESTION_MARKS} ") or words


def _parts(question: AskQuestion) -> tuple[str, ...]:
    options = {
        "collection": question.collection,
        "mode": question.mode,
        "top_k": question.top_k,
        "filter": question.filter,
    }
    return json.dumps(options, sort_keys=True), normalised(question.question)


def _told_again(made: MadeAnswer) -> MadeAnswer:
    """Return an answer that costs this caller nothing."""
    usage = dict.fromkeys(made.answer.usage, 0.0)
    return made.model_copy(update={"answer": made.answer.model_copy(update={"cached": True, "usage": usage})})


def _encoded(made: MadeAnswer) -> bytes:
    # What belongs to the one who asked first stays out.
    answer = made.answer
    kept = Answer(answer=answer.answer, answered=answer.answered, citations=answer.citations, usage=answer.usage)
    return MadeAnswer(retrieval=made.retrieval, answer=kept).model_dump_json().encode()


def _decoded(kept: bytes) -> MadeAnswer | None:
    try:
        return MadeAnswer.model_validate_json(kept)
    except ValidationError:
        return None
