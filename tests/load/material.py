"""Documents and questions of a load: made ones, or those of a folder in BEIR's form."""

import gzip
import itertools
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.load.made_documents import document, question

MakeDocument = Callable[[int], dict[str, Any]]


def documents_of(data: Path | None, collection: str, seed: int, sentences: int) -> MakeDocument:
    """Return what gives the `number`-th document; a folder's come again and again under new ids when they run out.

    The folder holds corpus.jsonl.gz with `_id`, `title` and `text` in each line.
    """
    if data is None:
        return partial(document, collection=collection, seed=seed, sentences=sentences)
    corpus = _lines(data / "corpus.jsonl.gz")

    def of_folder(number: int) -> dict[str, Any]:
        again, place = divmod(number, len(corpus))
        name = f"{corpus[place]['_id']}-{again}" if again else str(corpus[place]["_id"])
        return {"id": name, "collection": collection, **{part: corpus[place][part] for part in ("title", "text")}}

    return of_folder


def questions_of(data: Path | None, seed: int) -> Iterator[str]:
    """Yield questions without an end; those of a folder (queries.jsonl.gz) in an order that the seed shuffles."""
    chosen = random.Random(seed)
    if data is None:
        return (question(chosen) for _ in itertools.count())
    texts = [str(line["text"]) for line in _lines(data / "queries.jsonl.gz")]
    chosen.shuffle(texts)
    return itertools.cycle(texts)


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    if not found:
        raise ValueError(f"{path} is empty; it holds one JSON object in each line")
    return found
