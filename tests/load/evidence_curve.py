"""How well the evidence of passages tells questions that the documents answer from those that they don't.

    python -m tests.load.evidence_curve --data DIR --questions FILE [--others FILE] [--limit N]

Loads the documents of DIR/corpus.jsonl.gz into a fresh platform and asks the retriever for the passages of each
question. Prints, for each threshold of `services/agent/evidence.py`, the share of questions that would be declined:
of those that the documents answer, of those that their passages do not, and of those about other documents.
"""

import argparse
import asyncio
import gzip
import json
import random
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from opentelemetry.trace import NoOpTracerProvider

from contracts import subjects
from contracts.retrieval import RetrieveReply, RetrieveRequest
from services.agent.evidence import passage_evidence
from services.cli.evaluation.reading import Question, read_questions
from shared.messaging.requests import Requester
from tests.broker_asking import ASKERS, connected
from tests.platform_process import RunningPlatform, rag, running_platform

THRESHOLDS = [round(0.60 + 0.02 * step, 2) for step in range(30)]
SEED = 7
TOP_K = 10


async def evidences(platform: RunningPlatform, questions: Iterable[Question]) -> list[float]:
    """Return the evidence of the best passage for each question."""
    # The retriever replies to the inboxes of those who may ask it.
    client = await connected(platform, ASKERS[subjects.RETRIEVE])
    requester = Requester(client, NoOpTracerProvider().get_tracer("curve"), timeout_seconds=30)
    found = []
    for question in questions:
        request = RetrieveRequest(tenant="default", query=question.text, top_k=TOP_K)
        reply = await requester.ask(subjects.RETRIEVE, request, RetrieveReply)
        found.append(passage_evidence(question.text, reply.hits))
    await client.close()
    return found


def declined(values: list[float], threshold: float) -> float:
    """Return the share (0 to 1) that stays below a threshold."""
    return sum(value < threshold for value in values) / len(values) if values else float("nan")


def main() -> None:
    """Print the curve as a Markdown table and its raw values as one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--others", type=Path)
    parser.add_argument("--limit", type=int, default=600)
    arguments = parser.parse_args()
    questions = read_questions(arguments.questions)
    random.Random(SEED).shuffle(questions)
    groups = {
        "answered by the documents": [one for one in questions if not one.impossible][: arguments.limit],
        "not answered by their passages": [one for one in questions if one.impossible][: arguments.limit],
        "about other documents": read_questions(arguments.others)[: arguments.limit] if arguments.others else [],
    }
    with (
        tempfile.TemporaryDirectory(prefix="rag-curve-") as folder,
        running_platform(Path(folder) / "data") as platform,
    ):
        documents = Path(folder) / "documents.jsonl"
        with gzip.open(arguments.data / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            # BEIR calls the id `_id`.
            documents.write_text("".join(line.replace('"_id"', '"id"', 1) for line in lines), encoding="utf-8")
        loaded = rag("ingest", str(documents), url=platform.url, timeout_seconds=1_800)
        if loaded.returncode != 0:
            raise SystemExit(loaded.stdout + loaded.stderr)
        found = {name: asyncio.run(evidences(platform, group)) for name, group in groups.items()}
    heads = " | ".join(f"{name} ({len(values)})" for name, values in found.items())
    rows = [f"| threshold | {heads} |", "|---|" + "---|" * len(found)]
    for threshold in THRESHOLDS:
        shares = " | ".join(f"{declined(values, threshold):.1%}" for values in found.values())
        rows.append(f"| {threshold:.2f} | {shares} |")
    raw = json.dumps({name: [round(value, 4) for value in values] for name, values in found.items()})
    sys.stdout.write("\n".join([*rows, raw, ""]))


if __name__ == "__main__":
    main()
