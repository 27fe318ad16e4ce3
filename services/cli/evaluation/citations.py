"""Judges what answers cite: whether it stands in the cited document word for word, and whether that is a judged one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.cli.evaluation.judging import share
from services.cli.evaluation.reading import Question, read_objects


@dataclass(frozen=True, slots=True)
class Cited:
    """Citations of one answer; `right` are those of the `judged` ones whose document holds the gold answer.

    `verbatim` are those whose quote stands in the document that they name.
    """

    citations: int
    verbatim: int
    judged: int
    right: int


def texts_of(corpus: Path, document_ids: Iterable[str]) -> dict[str, str]:
    """Return title and text of some documents of a corpus, each run of whitespace as one space."""
    wanted = set(document_ids)
    found = {}
    for _, fields in read_objects(corpus):
        document_id = str(fields.get("_id", fields.get("id")))
        if document_id in wanted:
            found[document_id] = _squeezed(f"{fields.get('title') or ''} {fields.get('text') or ''}")
    return found


def check(question: Question, citations: Sequence[Mapping[str, Any]], texts: Mapping[str, str], prefix: str) -> Cited:
    """Judge the citations of an answer; `prefix` stands in front of the corpus' own ids."""
    documents = [str(citation["document_id"]).removeprefix(prefix) for citation in citations]
    pairs = list(zip(documents, citations, strict=True))
    judged = documents if question.supporting_ids else []
    return Cited(
        citations=len(pairs),
        verbatim=sum(_squeezed(citation["quote"]) in texts.get(document, "") for document, citation in pairs),
        judged=len(judged),
        right=sum(document in question.supporting_ids for document in judged),
    )


def summarise_citations(cited: Sequence[Cited]) -> dict[str, Any]:
    """Return how many citations there are, the share that is verbatim, and the share from a judged document."""
    total, judged = sum(one.citations for one in cited), sum(one.judged for one in cited)
    return {
        "citations": total,
        "verbatim": share(sum(one.verbatim for one in cited), total),
        "judged": judged,
        "from_judged_documents": share(sum(one.right for one in cited), judged),
    }


def _squeezed(text: str) -> str:
    return " ".join(text.split())
