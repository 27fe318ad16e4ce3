"""What the platform is measured against: the same model and the same index called in process."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from contracts.retrieval import RetrieveRequest
from services.embedder.onnx_embedding import OnnxEmbedding
from services.embedder.settings import EmbedderSettings
from services.retriever.bm25 import query_terms
from services.retriever.calibration import words_weight_of
from services.retriever.index import Hit, IndexQuery, SearchMode, Vector
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from shared import models

T = TypeVar("T")

THREADS = 2
WARM_UP_TEXTS = 20


def load_model() -> OnnxEmbedding:
    """Load the pinned embedding model as the embedder does."""
    settings = EmbedderSettings()
    files = models.locate(settings.embedding_model, settings.models_dir)
    return OnnxEmbedding(files.onnx.parent, fingerprint=settings.embedding_fingerprint)


def bare_model_rate(texts: Sequence[str], threads: int = THREADS) -> dict[str, float]:
    """Return chunks per second of a bare loop over the model: the embedder's thread layout and nothing around it."""
    model = load_model()
    for text in texts[:WARM_UP_TEXTS]:
        model.embed(text)
    waiting = list(reversed(texts))
    guard = threading.Lock()

    def work() -> None:
        while True:
            with guard:
                if not waiting:
                    return
                text = waiting.pop()
            model.embed(text)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    return {"chunks": len(texts), "threads": threads, "seconds": seconds, "chunks_per_s": len(texts) / seconds}


def ndcg_at_10(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]) -> float:
    """Return nDCG@10 over the judged queries, computed by ir-measures."""
    import ir_measures  # Slow to import, and only needed at the very end of a run.

    judged = {query_id: dict(found) for query_id, found in qrels.items() if query_id in run}
    result = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], judged, {k: dict(v) for k, v in run.items()})
    return float(result[ir_measures.nDCG @ 10])


class Reference:
    """The index of a stopped platform, opened in this process."""

    def __init__(self, directory: Path, tenant: str = "default", collection: str = "scifact") -> None:
        self._directory = directory
        self._request = RetrieveRequest(tenant=tenant, collection=collection, query="x")
        self._model = load_model()
        self._loop = asyncio.new_event_loop()
        self._documents, self._texts, self._vectors = self._read_points()

    def __enter__(self) -> Self:
        settings = EmbedderSettings()
        opened = QdrantEdgeIndex.open(
            self._directory, dimension=self._model.dimension, fingerprint=settings.embedding_fingerprint
        )
        self._index = self._loop.run_until_complete(opened)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._index.close())
        self._loop.close()

    def search(self, query: str, mode: SearchMode = SearchMode.DENSE) -> Any:
        """Embed a query and look it up: the parts that no platform can leave out."""
        vector = self._model.embed(self._model.query_prefix + query)
        return self.run(self._index.search(self._query(query, vector, mode)))

    async def find(self, query: str) -> list[Hit]:
        """Look a query up by meaning and by words beside other work of this loop (see `run`)."""
        return await self.look_up(query, await asyncio.to_thread(self.embed, query))

    def embed(self, query: str) -> Vector:
        """Return the vector of a query, on the thread that asks."""
        return self._model.embed(self._model.query_prefix + query)

    async def look_up(self, query: str, vector: Vector) -> list[Hit]:
        """Look a query up by meaning and by words, with a vector that is there already."""
        return list(await self._index.search(self._query(query, vector, SearchMode.HYBRID)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop that the index belongs to."""
        return self._loop.run_until_complete(work)

    def _query(self, query: str, vector: Vector, mode: SearchMode) -> IndexQuery:
        return IndexQuery(
            tenant=self._request.tenant,
            collection=self._request.collection,
            mode=mode,
            vector=vector,
            sparse=query_terms(query),
            words_weight=words_weight_of(self._model.fingerprint),
            limit=self._request.top_k,
        )

    def search_hybrid(self, query: str) -> Any:
        """Embed a query and look it up by meaning and by words."""
        return self.search(query, SearchMode.HYBRID)

    def exact(self, query: str, top_k: int) -> dict[str, float]:
        """Return document id -> score by multiplying with every stored vector."""
        scores = self._vectors @ self._model.embed(self._model.query_prefix + query)
        found: dict[str, float] = {}
        for row in np.argsort(-scores, kind="stable")[:top_k]:
            found.setdefault(self._documents[row], float(scores[row]))
        return found

    def chunks(self) -> tuple[list[str], list[str]]:
        """Return the document id and the embedded text of every chunk."""
        return self._documents, self._texts

    def embedded_texts(self, count: int) -> list[str]:
        """Return `count` of the texts that the platform embedded, evenly spread over the index."""
        step = max(1, len(self._texts) // count)
        return self._texts[::step][:count]

    def _read_points(self) -> tuple[list[str], list[str], NDArray[np.float32]]:
        """Read every chunk with its vector, through the engine itself."""
        shard = engine.EdgeShard.load(str(self._directory / "shard"))
        documents, texts, vectors = [], [], []
        offset = None
        while True:
            request = engine.ScrollRequest(offset=offset, limit=1_000, with_payload=True, with_vector=True)
            points, offset = shard.scroll(request)
            for point in points:
                if isinstance(point.vector, dict) and "dense" in point.vector:
                    payload = point.payload or {}
                    documents.append(payload["document_id"])
                    texts.append(embedded_text(payload))
                    vectors.append(np.asarray(point.vector["dense"], dtype=np.float32))
            if offset is None:
                break
        shard.close()
        return documents, texts, np.stack(vectors)


def embedded_text(payload: Mapping[str, Any]) -> str:
    """Return what the embedder read."""
    return str(payload["prefix"] + payload["text"])
