"""Turns hits into rankings of documents and measures them with ir-measures (trec_eval's definitions)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.cli.errors import CommandError
from services.cli.evaluation.reading import Judgements

MEASURES: Final = {"nDCG@10": "ndcg_at_10", "R@10": "recall_at_10", "R@100": "recall_at_100", "RR@10": "mrr_at_10"}
# query id -> document ids, best first
Rankings = Mapping[str, Sequence[str]]
# query id -> measure -> value
Measured = dict[str, dict[str, float]]


def rank_documents(found: Iterable[str], query_id: str, relevant: Mapping[str, int]) -> list[str]:
    """Return the documents of chunks, best first: each stands where its best chunk stands.

    As in BEIR, a document with the query's own id is left out (the query is part of some corpora), unless it is judged.
    """
    return [document for document in dict.fromkeys(found) if document != query_id or document in relevant]


def with_relevant(judgements: Judgements, queries: Mapping[str, str]) -> Judgements:
    """Return the judgements of the queries that have a text and a relevant document: only those can be measured."""
    return {
        query_id: relevances
        for query_id, relevances in judgements.items()
        if query_id in queries and any(relevance > 0 for relevance in relevances.values())
    }


def measure(judgements: Judgements, rankings: Rankings) -> Measured:
    """Return the measures of every judged query; one without a ranking counts as one that found nothing."""
    try:
        # Slow to import, and there is no wheel of its core for every machine.
        import ir_measures
    except ImportError as error:
        raise CommandError(f"rankings are measured by ir-measures, which is not installed ({error})") from None
    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    values: Measured = {query_id: dict.fromkeys(MEASURES.values(), 0.0) for query_id in judgements}
    runs = {query_id: _scores(rankings[query_id]) for query_id in judgements if rankings.get(query_id)}
    if runs:
        for value in ir_measures.iter_calc(measures, judgements, runs):
            values[value.query_id][MEASURES[str(value.measure)]] = float(value.value)
    return values


def average(measured: Measured) -> dict[str, float]:
    """Return the mean of every measure over the queries."""
    return {name: sum(values[name] for values in measured.values()) / len(measured) for name in MEASURES.values()}


def finds_all(documents: Iterable[str], wanted: Sequence[str]) -> bool:
    """Tell whether every wanted document is among those found."""
    return set(wanted) <= set(documents)


def _scores(documents: Sequence[str]) -> dict[str, float]:
    """Let the order speak: trec_eval would put documents of equal score in the order of their ids."""
    return {document: float(len(documents) - place) for place, document in enumerate(documents)}
