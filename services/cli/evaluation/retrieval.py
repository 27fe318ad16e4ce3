"""Runs judged queries through every mode of search: a run for quality, then another one against the clock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.cli.errors import CommandError
from services.cli.evaluation.http_platform import SEARCH_PATH, Refusal, Reply, post_all, post_in_turn
from services.cli.evaluation.latency import percentiles
from services.cli.evaluation.progress import Progress
from services.cli.evaluation.ranking import average, finds_all, measure, rank_documents
from services.cli.evaluation.reading import Judgements, Question

MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "hybrid": {"mode": "hybrid"},
    "hybrid+rerank": {"mode": "hybrid", "rerank": True},
}
QUALITY_TOP_K: Final = 100
LATENCY_TOP_K: Final = 10
LATENCY_QUERIES: Final = 300
WARM_UP_QUERIES: Final = 20
NOT_AVAILABLE: Final = "not_available"
MULTI_HOP_DOCUMENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask: the gateway, the collection, and how many requests at a time."""

    url: str
    collection: str
    concurrency: int

    def body(self, query: str, top_k: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a search."""
        return {"query": query, "collection": self.collection, "top_k": top_k, **options}

    @property
    def id_prefix(self) -> str:
        """Return what stands in front of the ids of the collection's documents.

        Ids belong to a tenant, so that document "1" of one dataset would replace document "1" of another.
        """
        return f"{self.collection}/"

    def documents(self, reply: Mapping[str, Any]) -> list[str]:
        """Return the documents of a search reply in its order, by the ids that the dataset gives them."""
        return [hit["document_id"].removeprefix(self.id_prefix) for hit in reply["hits"]]

    def for_mode(self, options: Mapping[str, Any]) -> int:
        """Return how many searches may run at a time."""
        # A reranker has a time budget; a second search beside it would be measured as worse ranking.
        return 1 if options.get("rerank") else self.concurrency


def find_available(target: Target, query: str) -> dict[str, str | None]:
    """Return for each mode why it is not available, None where it is; CommandError when searching fails otherwise."""
    found: dict[str, str | None] = {}
    for name, options in MODES.items():
        body = target.body(query, LATENCY_TOP_K, options)
        [reply] = post_all(target.url, SEARCH_PATH, [body], concurrency=1, on_reply=lambda: None)
        if isinstance(reply, Refusal) and reply.code != NOT_AVAILABLE:
            raise CommandError(f"search in mode {name} fails: {reply.detail} [{reply.code}]")
        found[name] = reply.detail if isinstance(reply, Refusal) else None
    return found


def run_retrieval(
    target: Target, queries: Mapping[str, str], judgements: Judgements, progress: Progress
) -> dict[str, Any]:
    """Return the figures of every mode over the queries."""
    available = find_available(target, next(iter(queries.values())))
    return {
        name: {"available": False, "reason": reason}
        if reason is not None
        else {"available": True, **_run_mode(target, name, queries, judgements, progress)}
        for name, reason in available.items()
    }


def run_multi_hop(target: Target, questions: Sequence[Question], progress: Progress) -> dict[str, Any]:
    """Return for each mode the share of questions whose gold documents are all among the first ten hits."""
    hops = [question for question in questions if len(set(question.supporting_ids)) >= MULTI_HOP_DOCUMENTS]
    if not hops:
        return {}
    found: dict[str, Any] = {}
    for name, reason in find_available(target, hops[0].text).items():
        found[name] = (
            {"available": False, "reason": reason}
            if reason is not None
            else {"available": True, **_run_hops(target, name, hops, progress)}
        )
    return found


def _run_mode(
    target: Target, name: str, queries: Mapping[str, str], judgements: Judgements, progress: Progress
) -> dict[str, Any]:
    replies = _search_all(target, name, list(queries.values()), QUALITY_TOP_K, progress)
    rankings = {
        query_id: [] if isinstance(reply, Refusal) else rank_documents(target.documents(reply), query_id, judged)
        for (query_id, judged), reply in zip(
            ((query_id, judgements[query_id]) for query_id in queries), replies, strict=True
        )
    }
    measured = measure({query_id: judgements[query_id] for query_id in queries}, rankings)
    return {
        "queries": len(queries),
        "metrics": average(measured),
        "latency": _time_mode(target, name, list(queries.values())[:LATENCY_QUERIES], progress),
        "reranked_share": reranked_share(replies),
        "failures": failures(replies),
        "per_query": {
            query_id: {"documents": rankings[query_id], **measured[query_id], **_failure(reply)}
            for query_id, reply in zip(queries, replies, strict=True)
        },
    }


def _search_all(target: Target, name: str, queries: Sequence[str], top_k: int, progress: Progress) -> list[Reply]:
    options = MODES[name]
    bodies = [target.body(query, top_k, options) for query in queries]
    with progress.phase(f"{name}: what is found", len(bodies)) as advance:
        return post_all(target.url, SEARCH_PATH, bodies, concurrency=target.for_mode(options), on_reply=advance)


def _time_mode(target: Target, name: str, queries: Sequence[str], progress: Progress) -> dict[str, Any] | None:
    bodies = [target.body(query, LATENCY_TOP_K, MODES[name]) for query in queries]
    for _ in post_in_turn(target.url, SEARCH_PATH, bodies[:WARM_UP_QUERIES]):
        continue
    taken, replies = [], []
    with progress.phase(f"{name}: how quickly", len(bodies)) as advance:
        for seconds, reply in post_in_turn(target.url, SEARCH_PATH, bodies):
            advance()
            replies.append(reply)
            if not isinstance(reply, Refusal):
                taken.append(seconds)
    return {**percentiles(taken), "reranked_share": reranked_share(replies)} if taken else None


def _run_hops(target: Target, name: str, questions: Sequence[Question], progress: Progress) -> dict[str, Any]:
    replies = _search_all(target, name, [question.text for question in questions], LATENCY_TOP_K, progress)
    found = [[] if isinstance(reply, Refusal) else target.documents(reply) for reply in replies]
    complete = [
        finds_all(documents, question.supporting_ids) for documents, question in zip(found, questions, strict=True)
    ]
    return {
        "questions": len(questions),
        "all_in_top_10": sum(complete) / len(complete),
        "failures": failures(replies),
        "per_question": {
            question.question_id: {"documents": documents, "wanted": question.supporting_ids}
            for question, documents in zip(questions, found, strict=True)
        },
    }


def reranked_share(replies: Sequence[Reply]) -> float | None:
    """Return the share of replies that say they were reranked within their budget, None where none speaks of it."""
    said = [reply["reranked"] for reply in replies if isinstance(reply, dict) and "reranked" in reply]
    return sum(value is True for value in said) / len(said) if said else None


def failures(replies: Sequence[Reply]) -> dict[str, int]:
    """Return how often each error came."""
    return dict(Counter(reply.code for reply in replies if isinstance(reply, Refusal)))


def _failure(reply: Reply) -> dict[str, str]:
    return {"failure": f"{reply.code}: {reply.detail}"} if isinstance(reply, Refusal) else {}
