"""What the autoscalers' thresholds follow from: Little's law, measured service times and settings.

A replica that takes `per_second` messages, of which each is there for `seconds`, has `per_second * seconds` of them; at
the utilisation that is planned for, so much of it. Where somebody waits, `seconds` is what the work itself takes: what
is there is in work. Where nobody does, it is how long a message may take, waiting included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.load.simulation import (
    AHEAD_SECONDS,
    ANSWER_SECONDS,
    SEATS,
    UTILISATION,
    Part,
    document_parts,
    fixed,
    question_parts,
)

# What is planned for: a document of some 3,000 tokens. All of its chunks fit into one message.
CHUNKS_OF_A_DOCUMENT: Final = 10
# RAG_PERSISTENCE_READ_THREADS: reads beyond them wait.
READ_THREADS: Final = 4
# How long documents may wait for the embedder before it gets another replica, and at the quick parts around it.
DOCUMENTS_SECONDS: Final = 60.0
PARSED_SECONDS: Final = 5.0
INDEXED_SECONDS: Final = 1.0
RECORDED_SECONDS: Final = 1.0
# Outdated points are hidden from the moment on that the fact is recorded; removing them may take its time.
CLEANED_UP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """How much of a metric one replica of `workload` is for; `metric` is as in `simulation_scaling.Trigger`."""

    workload: str
    metric: str
    per_second: float
    seconds: float

    @property
    def value(self) -> float:
        """Return the threshold; lags are whole numbers, others have one decimal, both rounded down."""
        exact = UTILISATION * self.per_second * self.seconds + 1e-9
        return float(int(exact)) if "/" in self.metric else int(exact * 10) / 10


def thresholds(times: Mapping[str, Any]) -> list[Threshold]:
    """Return every threshold of the manifests but that of a waiting time, which is one."""
    return [*_of_documents(times), *_of_questions(times)]


def _of_documents(times: Mapping[str, Any]) -> list[Threshold]:
    parts = _by_name(document_parts(times, _unscaled(times)))
    parser, embedder, retriever = (
        parts[name].per_second / CHUNKS_OF_A_DOCUMENT for name in ("parser", "embedder-bulk", "retriever")
    )
    recorded = parts["persistence"].per_second
    return [
        Threshold("parser", "INGEST/parser", parser, PARSED_SECONDS),
        Threshold("embedder-bulk", "CHUNKS/embedder", embedder, AHEAD_SECONDS),
        Threshold("embedder-bulk", "INGEST/parser", embedder, DOCUMENTS_SECONDS),
        Threshold("retriever", "VECTORS/retriever", retriever, INDEXED_SECONDS),
        # A clean-up has no measured time of its own; it touches the points that indexing does.
        Threshold("retriever", "FACTS/retriever-cleanup", retriever, CLEANED_UP_SECONDS),
        Threshold("persistence", "INGEST/persistence-intake", recorded, RECORDED_SECONDS),
        Threshold("persistence", "FACTS/persistence", recorded, RECORDED_SECONDS),
    ]


def _of_questions(times: Mapping[str, Any]) -> list[Threshold]:
    parts = _by_name(question_parts(times, _unscaled(times)))
    gateway, search = parts["gateway"], times["questions"]["search_ms"] / 1000
    embedder, retriever, agent = parts["embedder-interactive"], parts["retriever"], parts["agent"]
    return [
        Threshold("gateway", "searches", gateway.cores / gateway.processor_seconds, search),
        Threshold("gateway", "streams", min(SEATS / ANSWER_SECONDS, gateway.per_second), ANSWER_SECONDS),
        # Cores in use: each second of the one that an interpreter computes on.
        Threshold("gateway", "cpu", gateway.cores, 1.0),
        Threshold("embedder-interactive", "requests", embedder.per_second, embedder.seconds),
        Threshold("retriever", "requests", retriever.per_second, retriever.seconds),
        Threshold("agent", "QUERIES/agent", agent.per_second, agent.seconds),
        Threshold("persistence", "TURNS/persistence-turns", parts["persistence"].per_second, RECORDED_SECONDS),
        Threshold("persistence", "requests", READ_THREADS, 1.0),
    ]


def _by_name(parts: Sequence[Part]) -> dict[str, Part]:
    return {part.name: part for part in parts}


def _unscaled(times: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: fixed(1) for kind in ("documents", "questions") for name in times[kind]["processor_ms"]}


def table(times: Mapping[str, Any]) -> str:
    """Return the thresholds as a Markdown table."""
    lines = [
        "| deployment | counts | a replica takes, a second | each is there, s | threshold |",
        "|---|---|---|---|---|",
    ]
    for one in thresholds(times):
        cells = [one.workload, one.metric, f"{one.per_second:,.4g}", f"{one.seconds:g}", f"{one.value:g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
