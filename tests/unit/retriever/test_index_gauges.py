"""How large the index is said to be."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from services.retriever import metrics
from services.retriever.generations import Generations
from services.retriever.index import IndexUnavailable
from services.retriever.metrics import IndexGauges
from services.retriever.qdrant_edge_directory import stored_bytes
from tests.measuring import Measured


class Index:
    """An index of which a test says how large it is; it stands for its generation too."""

    def __init__(self) -> None:
        self.points, self.away = 7, False
        self.on_disk: int | None = 4096
        self.looked = asyncio.Event()

    @property
    def active(self) -> "Index":
        return self

    @property
    def index(self) -> "Index":
        return self

    async def count(self) -> int:
        self.looked.set()
        if self.away:
            raise IndexUnavailable("the index is away")
        return self.points

    async def size_bytes(self) -> int | None:
        return self.on_disk


async def test_what_cannot_be_read_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LOOK_SECONDS", 0.0)
    measured, index = Measured(), Index()
    looking = asyncio.create_task(IndexGauges(measured.meter).keep_looking(cast(Generations, index)))
    await two_looks(index)
    assert (measured.total("rag.index.points"), measured.total("rag.index.size")) == (7, 4096)
    index.on_disk = None
    await two_looks(index)
    assert (measured.total("rag.index.points"), measured.values("rag.index.size")) == (7, {})
    index.away = True
    await two_looks(index)
    assert measured.values("rag.index.points") == {}
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking


async def two_looks(index: Index) -> None:
    """Return once a look that began later is over."""
    for _ in range(2):
        index.looked.clear()
        await asyncio.wait_for(index.looked.wait(), timeout=30)


def test_the_disk_that_files_take_up_counts_and_not_their_holes(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    (tmp_path / "shard" / "data").write_bytes(b"x" * 100_000)
    with (tmp_path / "reserved").open("wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= stored_bytes(tmp_path) < 1_000_000
