"""Settings of the gateway."""

from typing import Final

from pydantic import Field

from services.gateway.auth_settings import AuthSettings
from shared.settings import MIB

DEFAULT_PORT: Final = 8000


class GatewaySettings(AuthSettings):
    """What the gateway takes in, holds and waits for."""

    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535, description="Port of the HTTP API (0 = any free one).")
    gateway_max_request_bytes: int = Field(
        default=64 * MIB, ge=1024, le=1024 * MIB, description="Largest body of a request that brings documents."
    )
    gateway_max_document_bytes: int = Field(
        default=50 * MIB, ge=1024, le=1024 * MIB, description="Largest single document, decoded."
    )
    gateway_max_body_bytes: int = Field(
        default=MIB, ge=1024, le=64 * MIB, description="Largest body of any other request."
    )
    gateway_max_held_bytes: int = Field(
        default=512 * MIB, ge=MIB, description="Bytes of all the bodies that are in work at the same time."
    )
    gateway_upload_memory_bytes: int = Field(
        default=MIB, ge=0, le=64 * MIB, description="Part of an uploaded file that is held in memory before the disk."
    )
    gateway_body_idle_seconds: float = Field(
        default=30.0, gt=0, le=600, description="Longest pause of a caller in the middle of its body."
    )
    gateway_linger_seconds: float = Field(
        default=5.0, ge=0, le=60, description="How long the rest of a refused body is read, so that the answer arrives."
    )
    gateway_object_seconds: float = Field(
        default=120.0, gt=0, le=600, description="Patience for storing a large document in the object store."
    )
    gateway_publish_concurrency: int = Field(
        default=16, ge=1, le=256, description="Documents of one request that are published at the same time."
    )

    gateway_mcp_hosts: str = Field(
        default="127.0.0.1,localhost,[::1]",
        description="Host names under which /mcp may be called, beside RAG_HOST; comma separated.",
    )
    gateway_mcp_max_body_bytes: int = Field(
        default=4 * MIB, ge=1024, le=64 * MIB, description="Largest message to /mcp, which may bring a text."
    )

    gateway_max_requests: int = Field(
        default=2_000, ge=1, le=100_000, description="Requests in work at the same time; beyond them 503."
    )
    gateway_send_seconds: float = Field(
        default=30.0, gt=0, le=600, description="How long a caller may take nothing of its answer before it is dropped."
    )
    gateway_max_waiting: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Callers who wait at the same time: questions, wait_s, event streams.",
    )
    gateway_max_wait_seconds: float = Field(default=60.0, ge=0, le=600, description="Largest value of wait_s.")
    gateway_query_timeout_seconds: float = Field(
        default=60.0, gt=0, le=120, description="Time for an answer; questions expire in the queue after 120 s."
    )
    gateway_embedding_slice_texts: int = Field(
        default=8, ge=1, le=64, description="Texts of /v1/embeddings that go to the embedder in one piece."
    )
    gateway_embedding_slices: int = Field(
        default=1, ge=1, le=64, description="Pieces of all /v1/embeddings that are at the embedder at the same time."
    )
    gateway_max_listed_collections: int = Field(
        default=1_000, ge=1, le=100_000, description="Collections that /v1/models lists, by name."
    )
    gateway_max_stream_seconds: float = Field(
        default=600.0, gt=0, le=86_400, description="Longest life of one event stream."
    )
    gateway_heartbeat_seconds: float = Field(
        default=15.0, gt=0, le=300, description="Pause between the comments that keep an event stream open."
    )
    gateway_listening_seconds: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="Pause between two words to the agent that somebody reads an answer; a third of "
        "RAG_AGENT_UNATTENDED_SECONDS.",
    )
    gateway_recheck_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How often who waits looks again, in case a notice was lost."
    )
    gateway_recent_seconds: float = Field(
        default=60.0, gt=0, le=600, description="How long this replica remembers what it accepted."
    )
    gateway_max_recent: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Documents and collections remembered as just accepted."
    )
    gateway_settle_seconds: float = Field(
        default=2.0, gt=0, le=10, description="Patience for persistence to record what was just accepted."
    )
    gateway_scatter_seconds: float = Field(
        default=0.5, gt=0, le=0.9, description="How long answers to a health question to all parts are collected."
    )
    gateway_sample_seconds: float = Field(
        default=5.0, gt=0, le=60, description="Pause between samples of the consumers' progress, for their rates."
    )

    @property
    def mcp_hosts(self) -> tuple[str, ...]:
        """Return the host names under which /mcp may be called, as a Host header spells them."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return own, *(name.strip() for name in self.gateway_mcp_hosts.split(",") if name.strip())
