"""Which files of a folder are documents, queries, judgements and questions.

A BEIR-style folder holds `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` or `qrels/*.tsv`; a QA folder holds
`corpus.jsonl` and `qa.jsonl`; a folder may be both. Each `.jsonl` may be a `.jsonl.gz`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.documents import COLLECTION_PATTERN
from services.cli.errors import CommandError

LINE_SUFFIXES: Final = (".jsonl", ".jsonl.gz")
DEFAULT_SPLIT: Final = "test"
MAX_COLLECTION_CHARACTERS: Final = 64
SHOWN_NAMES: Final = 12
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The files of a folder; what it does not have is None or empty."""

    folder: Path
    corpus: Path | None
    queries: Path | None
    qrels: tuple[Path, ...]
    questions: Path | None

    @property
    def name(self) -> str:
        """Return the folder's own name."""
        return self.folder.name

    @property
    def has_judgements(self) -> bool:
        """Tell whether rankings can be judged."""
        return self.queries is not None and bool(self.qrels)


def find_dataset(folder: Path, split: str | None = None) -> Dataset:
    """Return what a folder holds; `split` names the file of `qrels/` to take; CommandError without such a file."""
    return Dataset(
        folder=folder.resolve(),
        corpus=_lines(folder, "corpus"),
        queries=_lines(folder, "queries"),
        qrels=_qrels(folder, split),
        questions=_lines(folder, "qa"),
    )


def require_corpus(dataset: Dataset) -> Path:
    """Return the file of the documents; CommandError when there is none."""
    if dataset.corpus is None:
        raise _missing(dataset, "documents", "corpus.jsonl or corpus.jsonl.gz")
    return dataset.corpus


def require_questions(dataset: Dataset) -> Path:
    """Return the file of the questions; CommandError when there is none."""
    if dataset.questions is None:
        raise _missing(dataset, "questions", "qa.jsonl or qa.jsonl.gz")
    return dataset.questions


def require_something_to_ask(dataset: Dataset) -> None:
    """Raise CommandError when a folder has neither judged queries nor questions."""
    if not dataset.has_judgements and dataset.questions is None:
        wanted = "queries.jsonl[.gz] together with qrels.tsv or qrels/*.tsv, or qa.jsonl[.gz]"
        raise _missing(dataset, "judged queries and no questions", wanted)


def collection_of(dataset: Dataset) -> str:
    """Return the folder's name as the name of a collection."""
    name = _NOT_IN_A_NAME.sub("-", dataset.name).strip("-._")[:MAX_COLLECTION_CHARACTERS]
    if not re.match(COLLECTION_PATTERN, name):
        raise CommandError(f"the name of {dataset.folder} cannot name a collection; use --collection")
    return name


def _lines(folder: Path, stem: str) -> Path | None:
    return next((path for suffix in LINE_SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def _qrels(folder: Path, split: str | None) -> tuple[Path, ...]:
    single = folder / "qrels.tsv"
    if split is None and single.is_file():
        return (single,)
    several = {path.stem: path for path in sorted((folder / "qrels").glob("*.tsv"))}
    if split is None:
        return (several[DEFAULT_SPLIT],) if DEFAULT_SPLIT in several else tuple(several.values())
    if split not in several:
        raise CommandError(
            f"{folder} has no qrels/{split}.tsv for --split {split}; it has {_listed(several) or 'none'}"
        )
    return (several[split],)


def _missing(dataset: Dataset, what: str, wanted: str) -> CommandError:
    found = sorted(path.name + ("/" if path.is_dir() else "") for path in dataset.folder.iterdir())
    return CommandError(f"{dataset.folder} has no {what}: looked for {wanted}, found {_listed(found) or 'nothing'}")


def _listed(names: "list[str] | dict[str, Path]") -> str:
    shown = list(names)[:SHOWN_NAMES]
    return ", ".join(shown) + (", …" if len(names) > SHOWN_NAMES else "")
