"""Settings of the gateway."""

import re
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator

from services.gateway.auth_settings import AuthSettings
from shared.caching.settings import RedisSettings
from shared.intake_settings import IntakeSettings
from shared.settings import MIB

DEFAULT_PORT: Final = 8000
TRACE_ID_PLACE: Final = "{trace_id}"
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s/]+/")
_ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


class GatewaySettings(AuthSettings, RedisSettings, IntakeSettings):
    """What the gateway takes in, holds and waits for."""

    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535, description="Port of the HTTP API (0 = any free one).")
    gateway_tls_cert: Path | None = Field(
        default=None,
        description="PEM file of the gateway's certificate and of what leads to its authority; none = HTTP.",
    )
    gateway_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")
    gateway_tls_client_ca: Path | None = Field(
        default=None, description="PEM file of the authorities whose clients alone may connect (mutual TLS)."
    )
    gateway_tls_renew_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="How often these files are looked at; new ones are used without a restart.",
    )

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
        default=32, ge=1, le=256, description="Documents of one request that are published at the same time."
    )

    gateway_key_requests_per_minute: int = Field(
        default=60_000, ge=0, le=100_000_000, description="Requests of one key in a minute; beyond them 429 (0 = any)."
    )
    gateway_tenant_requests_per_minute: int = Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="Requests of one tenant in a minute, whatever its keys; beyond them 429 (0 = any).",
    )

    gateway_auth_failures_per_minute: int = Field(
        default=60,
        ge=0,
        le=1_000_000,
        description="Wrong keys and tokens of one address that are checked in a minute; beyond them 429 (0 = any).",
    )

    gateway_cors_origins: str = Field(
        default="",
        description="Origins whose pages may call from a browser, such as https://app.example; comma separated.",
    )
    gateway_trace_link: str | None = Field(
        default=None,
        description="Address of a trace in a tracing system, such as https://jaeger.example/trace/{trace_id}; "
        "the console links to it.",
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
    gateway_max_waiting_per_caller: int = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Of these, callers with one and the same key; beyond them 429 (0 = no bound of its own).",
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
        default=0.7, gt=0, le=0.8, description="How long answers to a health question to all parts are collected."
    )
    gateway_sample_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Pause between looks at the consumers, for their rates and for what /metrics shows of them.",
    )

    @property
    def mcp_hosts(self) -> tuple[str, ...]:
        """Return the host names under which /mcp may be called, as a Host header spells them."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return own, *(name.strip() for name in self.gateway_mcp_hosts.split(",") if name.strip())

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """Return the origins whose pages may call."""
        return tuple(origin.strip() for origin in self.gateway_cors_origins.split(",") if origin.strip())

    @field_validator("gateway_trace_link")
    @classmethod
    def _names_the_trace(cls, value: str | None) -> str | None:
        if value is not None and not (_WEB_ADDRESS.match(value) and TRACE_ID_PLACE in value):
            raise ValueError(
                f"{value!r} is no address with {TRACE_ID_PLACE}, such as https://jaeger.example/trace/{{trace_id}}"
            )
        return value

    @field_validator("gateway_cors_origins")
    @classmethod
    def _only_origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; it looks like https://app.example or http://localhost:3000")
        return value
