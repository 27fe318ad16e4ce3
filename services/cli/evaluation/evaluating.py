"""One `rag eval`: read everything, ingest the corpus, ask, judge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.cli.errors import CommandError
from services.cli.evaluation.answers import run_answers
from services.cli.evaluation.dataset import (
    Dataset,
    collection_of,
    find_dataset,
    require_corpus,
    require_questions,
    require_something_to_ask,
)
from services.cli.evaluation.progress import Progress
from services.cli.evaluation.ranking import with_relevant
from services.cli.evaluation.reading import Judgements, Question, read_judgements, read_queries, read_questions
from services.cli.evaluation.retrieval import Target, run_multi_hop, run_retrieval
from services.cli.evaluation.sampling import sample
from services.cli.ingestion import load
from services.cli.sources import Source, SourceOptions, count_documents
from services.cli.tally import Tally
from services.cli.uploading import UploadOptions

BATCH_DOCUMENTS: Final = 50
# What else a corpus says of its documents is not searched for, and may be of a form that metadata can't have.
SENT_FIELDS: Final = frozenset({"id", "title", "text"})
SHOWN_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is said on the command line."""

    url: str
    collection: str | None
    ingest: bool
    split: str | None
    out_of_domain: Path | None
    limit: int | None
    seed: int
    concurrency: int
    out: Path | None


@dataclass(frozen=True, slots=True)
class Material:
    """What will be asked; `of_queries`, `of_questions` and `of_strangers` are the numbers before sampling."""

    queries: Mapping[str, str]
    judgements: Judgements
    questions: Sequence[Question]
    strangers: Sequence[Question]
    of_queries: int
    of_questions: int
    of_strangers: int


def run_evaluation(folder: Path, options: EvaluationOptions) -> dict[str, Any]:
    """Return all figures with every single result; CommandError when something can't be read, ingested or asked."""
    dataset = find_dataset(folder, options.split)
    corpus = require_corpus(dataset)
    require_something_to_ask(dataset)
    # Read before anything is ingested: a wrong line shall not be found an hour later.
    material = _read(dataset, options)
    target = Target(options.url, options.collection or collection_of(dataset), options.concurrency)
    figures: dict[str, Any] = {"dataset": dataset.name, "collection": target.collection}
    figures["sampling"] = {"limit": options.limit, "seed": options.seed}
    figures["ingest"] = _ingest(corpus, target) if options.ingest else None
    figures |= _measure(dataset, material, target, options)
    if options.out is not None:
        write_json(options.out, figures)
    return figures


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures to a file whose folder may not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read(dataset: Dataset, options: EvaluationOptions) -> Material:
    queries = read_queries(dataset.queries) if dataset.queries and dataset.qrels else {}
    judgements = with_relevant(read_judgements(dataset.qrels), queries) if queries else {}
    if queries and not judgements:
        raise CommandError(f"no query of {dataset.queries} has a relevant document in {_listed(dataset.qrels)}")
    questions = read_questions(dataset.questions) if dataset.questions else []
    strangers = _strangers(options.out_of_domain)
    chosen = sample(list(judgements), options.limit, options.seed, str)
    return Material(
        queries={query_id: queries[query_id] for query_id in chosen},
        judgements=judgements,
        questions=_sample(questions, options),
        strangers=_sample(strangers, options),
        of_queries=len(judgements),
        of_questions=len(questions),
        of_strangers=len(strangers),
    )


def _strangers(folder: Path | None) -> list[Question]:
    return read_questions(require_questions(find_dataset(folder))) if folder is not None else []


def _sample(questions: Sequence[Question], options: EvaluationOptions) -> list[Question]:
    return sample(questions, options.limit, options.seed, lambda question: question.question_id)


def _ingest(corpus: Path, target: Target) -> dict[str, Any]:
    """Load the corpus as `rag ingest` does and wait until it is indexed; CommandError when nothing got in."""
    source = SourceOptions(collection=target.collection, line_id_prefix=target.id_prefix, line_fields=SENT_FIELDS)
    sources = [Source(corpus, corpus.name)]
    tally = Tally(count_documents(sources, source))
    upload = UploadOptions(concurrency=target.concurrency)
    load(sources, tally, target.url, source, upload, batch_documents=BATCH_DOCUMENTS, as_json=False)
    if not tally.indexed:
        reason = f": {tally.failures[0].document_id}: {tally.failures[0].message}" if tally.failures else ""
        raise CommandError(f"no document of {corpus} could be indexed{reason}")
    failed = [
        {"id": failure.document_id, "code": failure.code, "message": failure.message} for failure in tally.failures
    ]
    return {**tally.fields(), "failures": failed}


def _measure(dataset: Dataset, material: Material, target: Target, options: EvaluationOptions) -> dict[str, Any]:
    progress = Progress()
    figures: dict[str, Any] = {}
    if material.queries:
        modes = run_retrieval(target, material.queries, material.judgements, progress)
        counts = {"queries": len(material.queries), "of": material.of_queries}
        figures["retrieval"] = {"qrels": [path.name for path in dataset.qrels], **counts, "modes": modes}
    if material.questions:
        figures["multi_hop"] = run_multi_hop(target, material.questions, progress)
    if material.questions or material.strangers:
        counts = {"questions": len(material.questions), "of": material.of_questions}
        strangers = {"name": options.out_of_domain.resolve().name} if options.out_of_domain else {}
        answers = run_answers(target, require_corpus(dataset), material.questions, material.strangers, progress)
        answers["out_of_domain"] |= {**strangers, "of": material.of_strangers}
        figures["answers"] = {**counts, **answers}
    return figures


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
