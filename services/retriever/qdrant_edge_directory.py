"""The directory of an embedded index: one holder at a time, one model for good.

index.json   format, model fingerprint, dimension, distance
index.lock   held with flock while the index is open
shard/       the engine's own files
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import qdrant_edge as engine

from services.retriever import payload
from services.retriever.index import IndexLocked, IndexUnreadable, ModelMismatch

MANIFEST: Final = "index.json"
_FORMAT: Final = 1
# What POSIX counts a file's blocks in.
_BLOCK_BYTES: Final = 512
# Kilobytes of vectors above which optimize() would build a graph, with every thread of the process stopped for
# minutes. An exact scan of 50,000 vectors takes a few milliseconds, so the graph is left out.
_NO_GRAPH_KILOBYTES: Final = 10**9


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was created for and stays."""

    fingerprint: str
    dimension: int
    distance: str = "cosine"
    format: int = _FORMAT


def lock_directory(directory: Path) -> int:
    """Return a descriptor that holds the directory until it is closed; raises IndexLocked when another one does."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "index.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise IndexLocked(
            f"{directory} is already open; an embedded index serves one process: stop the other one, give this one"
            " its own directory, or use a Qdrant server"
        ) from None
    return descriptor


def open_shard(directory: Path, manifest: Manifest) -> engine.EdgeShard:
    """Return the shard of a locked directory, created on first use.

    Raises ModelMismatch when it was made for another model, IndexUnreadable when this release cannot read it.
    """
    _check_manifest(directory, manifest)
    shard_path = directory / "shard"
    if not shard_path.exists():
        _create(shard_path, manifest.dimension)
    shard = _load(shard_path)
    # Deleted points cost memory and scan time until this drops them; here nobody waits for an answer yet.
    shard.optimize()
    return shard


def _load(shard_path: Path) -> engine.EdgeShard:
    try:
        return engine.EdgeShard.load(str(shard_path))
    except Exception as error:
        raise IndexUnreadable(
            f"{shard_path} cannot be opened ({error}); restore it, or empty its directory and index anew"
        ) from error


def _check_manifest(directory: Path, wanted: Manifest) -> None:
    path = directory / MANIFEST
    if not path.exists():
        write_atomically(path, json.dumps(asdict(wanted), indent=2))
        return
    found = read_manifest(path)
    if (found.fingerprint, found.dimension, found.distance) != (wanted.fingerprint, wanted.dimension, wanted.distance):
        raise ModelMismatch(
            f"{directory} holds vectors of model {found.fingerprint!r} ({found.dimension} dimensions), but model"
            f" {wanted.fingerprint!r} ({wanted.dimension} dimensions) is configured; configure the first model again,"
            " or choose an empty directory and index the documents anew"
        )


def read_manifest(path: Path) -> Manifest:
    """Return what an index was created for; raises IndexUnreadable."""
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise IndexUnreadable(f"{path} has format {found['format']}, this release reads format {_FORMAT}")
        return Manifest(**{name: found[name] for name in ("fingerprint", "dimension", "distance")})
    except (ValueError, KeyError, TypeError) as error:
        raise IndexUnreadable(
            f"{path} is damaged ({error}); restore it, or empty the directory and index anew"
        ) from error


def stored_bytes(directory: Path) -> int:
    """Return how much disk the files of a directory take up; files that vanish meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                # Blocks and not lengths: the engine reserves files that are mostly holes.
                total += os.stat(os.path.join(folder, name), follow_symlinks=False).st_blocks * _BLOCK_BYTES
            except FileNotFoundError:
                continue
    return total


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file: after a crash it is the old one or the new one."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _create(shard_path: Path, dimension: int) -> None:
    """Build the shard beside its place and move it there, so that a crash leaves no half of one."""
    partial = shard_path.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shard = engine.EdgeShard.create(str(partial), _shard_config(dimension))
    for field, schema in _payload_indexes().items():
        shard.update(engine.UpdateOperation.create_field_index(field, schema))
    shard.close()
    partial.rename(shard_path)


def _shard_config(dimension: int) -> engine.EdgeConfig:
    return engine.EdgeConfig(
        vectors={payload.DENSE: engine.EdgeVectorParams(size=dimension, distance=engine.Distance.Cosine)},
        sparse_vectors={payload.SPARSE: engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf)},
        optimizers=engine.EdgeOptimizersConfig(indexing_threshold=_NO_GRAPH_KILOBYTES),
        wal_enabled=True,
    )


def _payload_indexes() -> dict[str, engine.PayloadSchemaType | engine.KeywordIndexParams]:
    keywords = dict.fromkeys(payload.KEYWORD_FIELDS, engine.PayloadSchemaType.Keyword)
    return {
        payload.TENANT_FIELD: engine.KeywordIndexParams(is_tenant=True),
        payload.REVISION_FIELD: engine.PayloadSchemaType.Integer,
        **keywords,
    }
