"""Tables out of figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.cli.evaluation.ranking import MEASURES

NOTHING: Final = "-"
PER_RESULT: Final = frozenset({"per_query", "per_question"})
MEASURE_HEADERS: Final = ("nDCG@10", "recall@10", "recall@100", "MRR@10")
RETRIEVAL_HEADERS: Final = ("search", *MEASURE_HEADERS, "p50 ms", "p99 ms", "reranked", "queries")
ANSWER_HEADERS: Final = ("answers", "figure", "questions")
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; the first column is the name of the row."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def without_results(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures without what was found for each single query and question."""
    return {
        name: without_results(value) if isinstance(value, Mapping) else value
        for name, value in figures.items()
        if name not in PER_RESULT
    }


def title(figures: Mapping[str, Any]) -> str:
    """Return one sentence on what was asked of what."""
    ingest = figures["ingest"]
    documents = f"{ingest['indexed']:,} documents" if ingest else "documents that were there already"
    asked = [f"{part['queries']:,} of {part['of']:,} judged queries" for part in _given(figures, "retrieval")]
    asked += [
        f"{part['questions']:,} of {part['of']:,} questions, answered by {part.get('answerer') or UNKNOWN}"
        for part in _given(figures, "answers")
    ]
    sampling = figures["sampling"]
    sampled = f", sampled with seed {sampling['seed']}" if sampling["limit"] is not None else ""
    return f"{figures['dataset']}: {documents} in collection {figures['collection']}; {', '.join(asked)}{sampled}."


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """Return the tables of what was measured."""
    found = []
    if "retrieval" in figures:
        found.append(Table(RETRIEVAL_HEADERS, tuple(_retrieval_rows(figures["retrieval"]))))
    if "answers" in figures:
        found.append(Table(ANSWER_HEADERS, tuple(_answer_rows(figures))))
    return found


def notes(figures: Mapping[str, Any]) -> list[str]:
    """Return a sentence on everything that did not go as it should."""
    found = []
    ingest = figures["ingest"]
    if ingest and ingest["failed"]:
        first = ingest["failures"][0]
        found.append(
            f"{ingest['failed']:,} documents were not indexed, first {first['id']}: {_unstopped(first['message'])}."
        )
    for part in ("retrieval", "multi_hop"):
        modes = figures.get(part, {})
        for name, mode in modes.get("modes", modes).items():
            found += _mode_notes(name, mode)
    if failures := figures.get("answers", {}).get("failures"):
        found.append(f"Questions without an answer for an error: {_counts(failures)}.")
    return list(dict.fromkeys(found))


def markdown(figures: Mapping[str, Any]) -> str:
    """Return title, tables and notes as Markdown."""
    parts = [title(figures), *map(_markdown_table, tables(figures)), *notes(figures)]
    return "\n\n".join(parts) + "\n"


def _retrieval_rows(retrieval: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, mode in retrieval["modes"].items():
        yield _retrieval_row(name, mode)
        for yardstick in retrieval.get("yardsticks", []):
            if yardstick["beside"] == name:
                yield _retrieval_row(f"yardstick: {yardstick['name']}", yardstick)


def _retrieval_row(name: str, measured: Mapping[str, Any]) -> tuple[str, ...]:
    if not measured.get("available", True):
        return (name, *[NOTHING] * (len(RETRIEVAL_HEADERS) - 1))
    metrics, latency = measured.get("metrics") or {}, measured.get("latency") or {}
    return (
        name,
        *(_number(metrics.get(measure), 4) for measure in MEASURES.values()),
        _number(latency.get("p50_ms"), 1),
        _number(latency.get("p99_ms"), 1),
        _percent(measured.get("reranked_share")),
        f"{measured['queries']:,}",
    )


def _answer_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    answers = figures["answers"]
    yield from _group_rows(
        answers["answerable"],
        {
            "quote_holds_answer": "answerable: a cited sentence holds a gold answer",
            "answer_holds_answer": "answerable: the answer's text holds a gold answer",
            "answered": "answerable: answered",
            "wrongly_abstained": "answerable: wrongly abstained",
            "exact_match": "answerable: the answer's text is a gold answer (exact match)",
            "f1": "answerable: F1 of the answer's text and a gold answer",
        },
    )
    yield from _group_rows(answers["impossible"], {"abstained": "unanswerable: abstained"})
    outside = answers["out_of_domain"]
    yield from _group_rows(outside, {"abstained": f"out of domain ({outside.get('name')}): abstained"})
    # Figures that were kept before a measure existed do not hold it.
    if answers.get("together") and answers["answerable"]["questions"] and answers["impossible"]["questions"]:
        yield from _group_rows(
            answers["together"],
            {
                "exact_match": "both: exact match, an abstention where there is no answer counted as one",
                "f1": "both: F1, counted so",
            },
        )
    yield from _citation_rows(answers.get("citations", {}))
    for name, mode in figures.get("multi_hop", {}).items():
        if mode["available"]:
            label = f"multi-hop: all gold passages in the top 10, {name}"
            yield label, _percent(mode["all_in_top_10"]), f"{mode['questions']:,}"
    yield from _usage_rows(answers.get("usage"))
    for part, label in (("first_text", "first text"), ("latency", "latency")):
        for name, quantile in (("p50_ms", "p50"), ("p99_ms", "p99")):
            if taken := answers.get(part):
                yield f"{label} {quantile}, ms", _number(taken[name], 1), f"{taken['count']:,}"


def _citation_rows(citations: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, counted, label in (
        ("verbatim", "citations", "citations: word for word in the document that they name"),
        ("from_judged_documents", "judged", "citations: from a document that is judged to hold the answer"),
    ):
        if citations.get(counted):
            yield label, _percent(citations[name]), f"{citations[counted]:,} citations"


def _usage_rows(usage: Mapping[str, Any] | None) -> Iterator[tuple[str, ...]]:
    if usage is None:
        return
    asked = f"{usage['answers']:,}"
    yield "model: requests for an answer", _number(usage["llm_calls"], 2), asked
    yield "model: tokens sent for an answer", _number(usage["input_tokens"], 0), asked
    yield "model: tokens received for an answer", _number(usage["output_tokens"], 0), asked
    yield "model: cost of an answer", _number(usage["cost"], 6), asked
    if usage["invented_markers"] is not None:
        yield "model: invented markers, all answers", _number(usage["invented_markers"], 0), asked


def _group_rows(group: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    if group["questions"]:
        for name, label in labels.items():
            if name in group:
                yield label, _percent(group[name]), f"{group['questions']:,}"


def _mode_notes(name: str, mode: Mapping[str, Any]) -> Iterator[str]:
    if not mode["available"]:
        yield f"{name}: {_unstopped(mode['reason'])}."
    elif mode["failures"]:
        yield f"{name}: searches that failed: {_counts(mode['failures'])}."


def _markdown_table(table: Table) -> str:
    ruler = ["---", *["---:"] * (len(table.headers) - 1)]
    lines = [table.headers, ruler, *([cell.replace("|", "\\|") for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _given(figures: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    return [figures[name]] if name in figures else []


def _counts(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in failures.items())


def _unstopped(sentence: str) -> str:
    return sentence.rstrip().removesuffix(".")


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.1%}"
