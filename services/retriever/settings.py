"""Settings of the retriever."""

from pathlib import Path

from pydantic import Field, SecretStr

from shared import models
from shared.caching.settings import CacheSettings
from shared.settings import EmbeddingModelSettings


class RetrieverSettings(CacheSettings, EmbeddingModelSettings):
    """Where the index is and how much is done at once."""

    qdrant_url: str | None = Field(default=None, description="Qdrant server; none = the embedded index.")
    qdrant_api_key: SecretStr | None = Field(default=None, description="Key of the Qdrant server.")
    qdrant_tls_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed Qdrant's certificate; none = public ones."
    )
    qdrant_tls_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate for Qdrant, for mutual TLS."
    )
    qdrant_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")
    qdrant_prefix: str = Field(default="rag", pattern=r"^[a-z0-9_-]{1,32}$", description="Prefix of collection names.")
    qdrant_timeout_seconds: int = Field(default=10, ge=1, le=300, description="Patience with the Qdrant server.")
    qdrant_replication_factor: int = Field(default=1, ge=1, le=9, description="Copies of each shard on a cluster.")
    retriever_workers: int = Field(default=32, ge=1, le=256, description="Batches that are indexed at the same time.")
    retriever_cleanup_workers: int = Field(default=32, ge=1, le=256, description="Clean-ups at the same time.")
    retriever_search_rounds: int = Field(
        default=4, ge=1, le=8, description="How often a search looks deeper when hits are hidden."
    )
    retriever_search_candidates: int = Field(
        default=100, ge=10, le=1_000, description="How deep each ranking of a hybrid search goes before they are fused."
    )
    query_cache_seconds: float = Field(
        default=3_600.0, gt=0, le=30 * 86_400, description="How long the vector of a query is kept."
    )
    rerank_model: str = Field(default=models.RERANK_MODEL, description="Pinned cross-encoder for `rerank`.")
    rerank_candidates: int = Field(default=10, ge=2, le=100, description="First hits that are reranked.")
    rerank_budget_seconds: float = Field(
        default=2.0, gt=0, le=30, description="Time for reranking; without an order by then the search's own stands."
    )
