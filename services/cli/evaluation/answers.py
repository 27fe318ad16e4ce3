"""Asks questions and judges the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.evaluation.citations import Cited, check, summarise_citations, texts_of
from services.cli.evaluation.http_platform import (
    QUERY_PATH,
    Refusal,
    Reply,
    Timed,
    answerer_of,
    post_all,
    stream_in_turn,
)
from services.cli.evaluation.judging import (
    Verdict,
    failed,
    judge,
    summarise_answerable,
    summarise_together,
    summarise_unanswerable,
)
from services.cli.evaluation.latency import percentiles
from services.cli.evaluation.progress import Progress
from services.cli.evaluation.reading import Question
from services.cli.evaluation.retrieval import LATENCY_QUERIES, Target, failures
from services.cli.evaluation.spending import summarise_usage

ANSWERABLE: Final = "answerable"
IMPOSSIBLE: Final = "impossible"
OUT_OF_DOMAIN: Final = "out_of_domain"
TOGETHER: Final = "together"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the group it counts in, and what came of it."""

    question: Question
    group: str
    reply: Reply

    @property
    def verdict(self) -> Verdict:
        """Return the judgement."""
        return failed(self.reply.code) if isinstance(self.reply, Refusal) else judge(self.question, self.reply)

    @property
    def citations(self) -> Sequence[Mapping[str, Any]]:
        """Return the citations of an answer, none of what is no answer."""
        return self.reply.get("citations", []) if isinstance(self.reply, dict) and self.reply.get("answered") else []


def run_answers(
    target: Target, corpus: Path, questions: Sequence[Question], out_of_domain: Sequence[Question], progress: Progress
) -> dict[str, Any]:
    """Return the figures of the questions, and of questions that this collection can't answer."""
    grouped = [(question, IMPOSSIBLE if question.impossible else ANSWERABLE) for question in questions]
    grouped += [(question, OUT_OF_DOMAIN) for question in out_of_domain]
    taken, replies = _ask(target, [question.text for question, _ in grouped], progress)
    asked = [Asked(*pair, reply) for pair, reply in zip(grouped, replies, strict=True)]
    cited = _check_citations(asked, target, corpus)
    first = [timed.first for timed in taken if timed.first is not None]
    return {
        "answerer": answerer_of(target.url),
        **summarise(asked),
        "citations": summarise_citations(cited),
        "usage": summarise_usage([reply.get("usage") or {} for reply in replies if isinstance(reply, dict)]),
        "first_text": percentiles(first) if first else None,
        "latency": percentiles([timed.end for timed in taken]) if taken else None,
        "failures": failures(replies),
        "per_question": [_record(one, verdict, target) for one, verdict in zip(asked, cited, strict=True)],
    }


def summarise(asked: Sequence[Asked]) -> dict[str, Any]:
    """Return the shares of each group."""

    def of(group: str) -> list[Verdict]:
        return [one.verdict for one in asked if one.group == group]

    return {
        ANSWERABLE: summarise_answerable(of(ANSWERABLE)),
        IMPOSSIBLE: summarise_unanswerable(of(IMPOSSIBLE)),
        OUT_OF_DOMAIN: summarise_unanswerable(of(OUT_OF_DOMAIN)),
        TOGETHER: summarise_together(of(ANSWERABLE), of(IMPOSSIBLE)),
    }


def _check_citations(asked: Sequence[Asked], target: Target, corpus: Path) -> list[Cited]:
    cited = {str(citation["document_id"]).removeprefix(target.id_prefix) for one in asked for citation in one.citations}
    texts = texts_of(corpus, cited)
    return [check(one.question, one.citations, texts, target.id_prefix) for one in asked]


def _ask(target: Target, texts: Sequence[str], progress: Progress) -> tuple[list[Timed], list[Reply]]:
    """Ask every question once: the first ones in turn against the clock, as a second time may come from a cache.

    Those are streamed, so that one request tells both when its text began and when it was complete.
    """
    bodies = [{"question": text, "collection": target.collection} for text in texts]
    taken: list[Timed] = []
    replies: list[Reply] = []
    with progress.phase("questions", len(bodies)) as advance:
        for timed, reply in stream_in_turn(target.url, QUERY_PATH, bodies[:LATENCY_QUERIES]):
            advance()
            replies.append(reply)
            if isinstance(reply, dict) and not reply.get("cached"):
                taken.append(timed)
        rest = bodies[LATENCY_QUERIES:]
        replies += post_all(target.url, QUERY_PATH, rest, concurrency=target.concurrency, on_reply=advance)
    return taken, replies


def _record(asked: Asked, cited: Cited, target: Target) -> dict[str, Any]:
    """Return all that is needed to judge the answer again."""
    question = asked.question
    known = {"id": question.question_id, "group": asked.group, "question": question.text, "gold": question.answers}
    return {**known, **asdict(asked.verdict), "cited": asdict(cited), **_said(asked.reply, target)}


def _said(reply: Reply, target: Target) -> Mapping[str, Any]:
    if isinstance(reply, Refusal):
        return {"detail": reply.detail}
    citations = reply.get("citations", [])
    return {
        "answer": reply.get("answer"),
        "usage": reply.get("usage"),
        "quotes": [citation["quote"] for citation in citations],
        "documents": [citation["document_id"].removeprefix(target.id_prefix) for citation in citations],
    }
