"""Row b: ingestion beside a bare loop over the model."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from services.parser.chunking import Chunker, ChunkingLimits
from services.parser.document import Section
from services.parser.settings import ParserSettings
from services.parser.token_counting import TokenCounter
from shared import models
from tests.load.bench.row import Row, Yardstick, at_least
from tests.load.bench.stand import SENTENCES, Platform, Stand, run_client
from tests.load.material import documents_of

LETTER: Final = "b"
TITLE: Final = "ingestion beside a bare loop over the model"
SHARE: Final = 0.85


def measure(stand: Stand) -> list[Row]:
    """Return chunks a second, from the first document sent to the last one indexed."""
    found: list[float] = []
    beside: list[float] = []
    with stand.platform() as platform:
        # The first documents find everything cold.
        platform.fill(20, "warm-up")
        for number in range(stand.sizes.rounds):
            stand.say(f"b: round {number + 1}")
            collection = f"round-{number}"
            found.append(_ingest(platform, stand.sizes.batch_documents, collection))
            beside.append(run_client("bare_model", "--texts", str(_texts(stand, collection)))["chunks_per_s"])
    yardstick = Yardstick("bare loop over the model on the same texts, 2 threads", tuple(beside))
    return [Row(LETTER, "ingestion: chunks a second", "/s", tuple(found), yardstick, limit=at_least(SHARE))]


def _ingest(platform: Platform, documents: int, collection: str) -> float:
    before, started = platform.chunks(), time.monotonic()
    platform.fill(documents, collection)
    return (platform.chunks() - before) / (time.monotonic() - started)


def _texts(stand: Stand, collection: str) -> Path:
    """Write what the embedder reads of the same documents, as the parser cuts them."""
    made = map(documents_of(stand.data, collection, stand.seed, SENTENCES), range(stand.sizes.batch_documents))
    path = stand.folder / f"{collection}.json"
    path.write_text(json.dumps(embedded_texts(made)), encoding="utf-8")
    return path


def embedded_texts(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the text of every chunk with its title in front, of documents that are one paragraph each."""
    settings = ParserSettings()
    tokenizer = models.locate(settings.parser_tokenizer, settings.models_dir).tokenizer
    limits = ChunkingLimits(settings.parser_chunk_tokens, settings.parser_overlap_tokens, settings.parser_prefix_tokens)
    chunker = Chunker(TokenCounter.from_file(tokenizer), limits)
    chunks = (chunk for one in documents for chunk in chunker.chunks(one["title"], [Section(one["text"])]))
    return [chunk.prefix + chunk.text for chunk in chunks]
