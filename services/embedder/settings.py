"""Settings of the embedder."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from shared.settings import EmbeddingModelSettings


class EmbedderSettings(EmbeddingModelSettings):
    """Where vectors come from and how much is computed at once."""

    embedder_lanes: Literal["both", "bulk", "interactive"] = Field(
        default="both",
        description="What this process does: documents from the queue (`bulk`), what somebody waits for, or both.",
    )
    embedder_threads: int = Field(default=0, ge=0, le=256, description="Bulk threads (0 = one for each core).")
    embedder_query_threads: int = Field(
        default=2, ge=1, le=64, description="Threads kept for queries; one that is alone takes two."
    )
    embedder_workers: int = Field(default=32, ge=1, le=256, description="Messages in work at the same time.")
    embedder_max_waiting_slices: int = Field(default=1024, ge=1, description="Texts that wait in the bulk lane.")
    embedder_max_waiting_queries: int = Field(default=256, ge=1, description="Texts that wait in the query lane.")
    embedder_nice: int = Field(default=10, ge=0, le=19, description="How far bulk threads step back behind queries.")
    embedding_api_key: SecretStr | None = Field(default=None, description="Key of the remote endpoint.")
    next_embedding_api_key: SecretStr | None = Field(default=None, description="Key of the next model's endpoint.")
    embedding_tls_ca: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the endpoint's certificate; none = public ones.",
    )
    embedding_tls_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate for the endpoint, for mutual TLS."
    )
    embedding_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")
    next_embedding_tls_ca: Path | None = Field(
        default=None, description="The same authority for the next model's endpoint."
    )
    next_embedding_tls_cert: Path | None = Field(
        default=None, description="Our own certificate for the next model's endpoint."
    )
    next_embedding_tls_key: Path | None = Field(default=None, description="The key of that certificate.")
    embedding_timeout_seconds: float = Field(default=30.0, gt=0, le=600, description="Patience with the endpoint.")
