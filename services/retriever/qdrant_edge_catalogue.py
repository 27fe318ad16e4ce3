"""The embedded indexes of a data folder: one directory for each model.

index/               the index of the first model
index-<model>-…/     the index of a later model
index-models.json    whose index is searched, and whose is being filled; without it, that of `index/` is searched
"""

import asyncio
import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from services.retriever.generations import IndexedModel
from services.retriever.index import IndexUnreadable, VectorIndex
from services.retriever.qdrant_edge_directory import MANIFEST, read_manifest, write_atomically
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from services.retriever.stored_names import stored_name
from shared.logs import get_logger

log = get_logger(__name__)

_FORMAT: Final = 1
_FIRST: Final = "index"
_DISCARDED: Final = ".discarded"
_OURS: Final = re.compile(rf"{_FIRST}(-[a-z0-9-]+-[0-9a-f]{{8}})?({re.escape(_DISCARDED)})?")


@dataclass(frozen=True, slots=True)
class _State:
    active: str | None = None
    upcoming: str | None = None
    format: int = _FORMAT


class QdrantEdgeCatalogue:
    """Implements Catalogue; whoever has the active index open is the only one to change anything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "index-models.json"

    async def active(self) -> str | None:
        """Return the model whose index is searched."""
        return (await asyncio.to_thread(self._read)).active

    async def upcoming(self) -> str | None:
        """Return the model whose index is being filled."""
        return (await asyncio.to_thread(self._read)).upcoming

    async def open(self, model: IndexedModel) -> VectorIndex:
        """Open the index of a model."""
        directory = await asyncio.to_thread(self._directory_of, model.fingerprint)
        return await QdrantEdgeIndex.open(directory, dimension=model.dimension, fingerprint=model.fingerprint)

    async def set_active(self, model: str) -> None:
        """Have searches use the index of this model."""
        await asyncio.to_thread(self._write, _State(active=model))

    async def set_upcoming(self, model: str | None) -> None:
        """Record whose index is being filled."""
        state = await asyncio.to_thread(self._read)
        if state.upcoming != model:
            await asyncio.to_thread(self._write, replace(state, upcoming=model))

    async def discard(self, model: str) -> None:
        """Remove the index of a model."""
        directory = self._stored().get(model)
        if directory is not None:
            await asyncio.to_thread(_remove, directory)

    async def tidy(self, keep: str) -> None:
        """Remove the indexes of all other models: they can be computed again from this one."""
        kept = self._stored().get(keep)
        for directory in self._directories():
            if directory != kept:
                await asyncio.to_thread(_remove, directory)

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read(self) -> _State:
        if not self._file.exists():
            stored = list(self._stored())
            return _State(active=stored[0] if stored else None)
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise IndexUnreadable(f"{self._file} has format {found['format']}, this release reads format {_FORMAT}")
            return _State(found["active"], found["upcoming"])
        except (ValueError, KeyError, TypeError) as error:
            raise IndexUnreadable(
                f"{self._file} is damaged ({error}); delete it: the first index in the folder is then searched"
            ) from error

    def _write(self, state: _State) -> None:
        write_atomically(self._file, json.dumps(asdict(state), indent=2))

    def _directory_of(self, model: str) -> Path:
        stored = self._stored()
        if model in stored:
            return stored[model]
        return self._folder / (stored_name(_FIRST, model) if stored else _FIRST)

    def _stored(self) -> dict[str, Path]:
        """Return the directory of each model that has one, that of the first model before others."""
        return {
            read_manifest(directory / MANIFEST).fingerprint: directory
            for directory in self._directories()
            if (directory / MANIFEST).exists() and directory.suffix != _DISCARDED
        }

    def _directories(self) -> list[Path]:
        """Return every directory of ours, the first model's before others; a copy that somebody made is not ours."""
        return sorted(path for path in self._folder.glob(f"{_FIRST}*") if _OURS.fullmatch(path.name) and path.is_dir())


def _remove(directory: Path) -> None:
    """Take the directory out of sight first, so that a crash leaves no half of an index behind."""
    discarded = directory
    if directory.suffix != _DISCARDED:
        discarded = directory.with_name(directory.name + _DISCARDED)
        shutil.rmtree(discarded, ignore_errors=True)
        directory.rename(discarded)
    shutil.rmtree(discarded)
    log.info("index_removed", directory=str(directory))
