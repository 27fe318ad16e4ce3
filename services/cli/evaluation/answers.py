"""Asks questions and judges the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.cli.evaluation.http_platform import QUERY_PATH, Refusal, Reply, post_all, post_in_turn
from services.cli.evaluation.judging import Verdict, failed, judge, summarise_answerable, summarise_unanswerable
from services.cli.evaluation.latency import percentiles
from services.cli.evaluation.progress import Progress
from services.cli.evaluation.reading import Question
from services.cli.evaluation.retrieval import LATENCY_QUERIES, Target, failures

ANSWERABLE: Final = "answerable"
IMPOSSIBLE: Final = "impossible"
OUT_OF_DOMAIN: Final = "out_of_domain"


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


def run_answers(
    target: Target, questions: Sequence[Question], out_of_domain: Sequence[Question], progress: Progress
) -> dict[str, Any]:
    """Return the figures of the questions, and of questions that this collection can't answer."""
    grouped = [(question, IMPOSSIBLE if question.impossible else ANSWERABLE) for question in questions]
    grouped += [(question, OUT_OF_DOMAIN) for question in out_of_domain]
    taken, replies = _ask(target, [question.text for question, _ in grouped], progress)
    asked = [Asked(*pair, reply) for pair, reply in zip(grouped, replies, strict=True)]
    return {
        **summarise(asked),
        "latency": percentiles(taken) if taken else None,
        "failures": failures(replies),
        "per_question": [_record(one, target) for one in asked],
    }


def summarise(asked: Sequence[Asked]) -> dict[str, Any]:
    """Return the shares of each group."""

    def of(group: str) -> list[Verdict]:
        return [one.verdict for one in asked if one.group == group]

    return {
        ANSWERABLE: summarise_answerable(of(ANSWERABLE)),
        IMPOSSIBLE: summarise_unanswerable(of(IMPOSSIBLE)),
        OUT_OF_DOMAIN: summarise_unanswerable(of(OUT_OF_DOMAIN)),
    }


def _ask(target: Target, texts: Sequence[str], progress: Progress) -> tuple[list[float], list[Reply]]:
    """Ask every question once: the first ones in turn against the clock, as a second time may come from a cache."""
    bodies = [{"question": text, "collection": target.collection} for text in texts]
    taken, replies = [], []
    with progress.phase("questions", len(bodies)) as advance:
        for seconds, reply in post_in_turn(target.url, QUERY_PATH, bodies[:LATENCY_QUERIES]):
            advance()
            replies.append(reply)
            if isinstance(reply, dict) and not reply.get("cached"):
                taken.append(seconds)
        rest = bodies[LATENCY_QUERIES:]
        replies += post_all(target.url, QUERY_PATH, rest, concurrency=target.concurrency, on_reply=advance)
    return taken, replies


def _record(asked: Asked, target: Target) -> dict[str, Any]:
    """Return all that is needed to judge the answer again."""
    question = asked.question
    known = {"id": question.question_id, "group": asked.group, "question": question.text, "gold": question.answers}
    return {**known, **asdict(asked.verdict), **_said(asked.reply, target)}


def _said(reply: Reply, target: Target) -> Mapping[str, Any]:
    if isinstance(reply, Refusal):
        return {"detail": reply.detail}
    citations = reply.get("citations", [])
    return {
        "answer": reply.get("answer"),
        "quotes": [citation["quote"] for citation in citations],
        "documents": [citation["document_id"].removeprefix(target.id_prefix) for citation in citations],
    }
