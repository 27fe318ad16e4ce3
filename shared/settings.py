"""The settings that every service has; each service adds its own in its `settings.py`.

Values come from the environment (`RAG_…`); a secret may instead be a file named by `RAG_…_FILE`. Nothing else in the
project reads the environment.
"""

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared import models

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
MIB: Final = 1024 * 1024
EXIT_MISCONFIGURED: Final = 2


class FileSource(PydanticBaseSettingsSource):
    """Take the value of `RAG_X` from the file that `RAG_X_FILE` names, as Kubernetes and Docker mount secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the stripped content of the file, or None when no file is named."""
        prefix = self.config.get("env_prefix", "")
        path = os.environ.get(f"{prefix}{field_name}_FILE".upper())
        return (Path(path).read_text(encoding="utf-8").strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return every value that a file gives."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class PlatformSettings(BaseSettings):
    """Settings common to all services."""

    model_config = SettingsConfigDict(env_prefix="RAG_", frozen=True, extra="ignore", protected_namespaces=())

    nats_url: str = Field(default="nats://127.0.0.1:4222", description="Broker addresses, comma separated.")
    nats_user: str | None = Field(default=None, description="Broker user.")
    nats_password: str | None = Field(default=None, repr=False, description="Broker password.")
    nats_inbox_prefix: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Where replies are read; none = `_INBOX_` and the name of the broker user.",
    )
    nats_tls_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed the broker's certificate; none = the system's."
    )
    nats_tls_cert: Path | None = Field(default=None, description="PEM file of our own certificate, for mutual TLS.")
    nats_tls_key: Path | None = Field(default=None, description="PEM file of the key of our own certificate.")
    nats_tls_first: bool = Field(
        default=True, description="TLS begins before the broker speaks, as its `handshake_first` has it."
    )
    nats_replicas: int = Field(default=1, ge=1, le=5, description="Replicas of every stream (3 on a cluster).")
    nats_connect_seconds: float = Field(
        default=120.0, gt=0, description="How long to try to reach the broker at start."
    )
    publish_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Patience for a publish to be acknowledged; covers a cluster's leader election."
    )
    request_timeout_seconds: float = Field(default=10.0, gt=0, description="Patience of a request to another service.")
    max_concurrent_requests: int = Field(default=64, ge=1, description="Requests a process answers at the same time.")

    nats_pending_messages: int = Field(
        default=4_096, ge=64, description="Messages of one subscription that wait in the process; more are dropped."
    )
    nats_pending_bytes: int = Field(
        default=16 * MIB, ge=2 * MIB, description="Bytes of one subscription that wait in the process."
    )

    host: str = Field(default="127.0.0.1", description="Address the service's HTTP server binds to.")
    port: int = Field(default=0, ge=0, le=65535, description="Port of the service's HTTP server (0 = any free one).")
    http_max_head_bytes: int = Field(
        default=64 * 1024,
        ge=4_096,
        le=MIB,
        description="Size of a request's head, its address included; beyond it 431.",
    )
    http_head_seconds: float = Field(
        default=30.0, gt=0, le=600, description="Time for the head of a request; then its connection is closed."
    )
    data_dir: Path = Field(default=PROJECT_ROOT / ".rag", description="Folder of everything that is stored locally.")
    models_dir: Path = Field(default=PROJECT_ROOT / ".models", description="Folder of the pinned models.")
    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", description="Replica name.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    log_levels: str = Field(
        default="",
        pattern=r"^\s*(?:[\w.]+=(?:debug|info|warning|error)\s*(?:,\s*|$))*$",
        description="Levels of single loggers, such as `services.agent=debug,httpx=info`.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="Log lines for programs or for people; `auto` = for people on a terminal."
    )
    log_content: bool = Field(
        default=False,
        description="Whether logs and error reports may hold texts of documents, questions and answers; never secrets.",
    )
    sentry_dsn: SecretStr | None = Field(
        default=None, description="Sentry project that unexpected errors are reported to; none = not reported."
    )
    sentry_environment: str = Field(default="production", description="Environment that error reports name.")
    sentry_flush_seconds: float = Field(
        default=2.0, ge=0, le=60, description="How long the end of a process waits for its last error reports."
    )
    otlp_endpoint: str | None = Field(
        default=None, description="OTLP/HTTP base address for spans; none = not exported."
    )
    otlp_tls_ca: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the collector's certificate; none = public ones.",
    )
    otlp_tls_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate for the collector, for mutual TLS."
    )
    otlp_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")
    otlp_queue_spans: int = Field(
        default=2_048, ge=512, description="Spans that wait to be exported; more are dropped."
    )
    otlp_delay_seconds: float = Field(
        default=1.0, gt=0, le=60, description="How long spans are collected before they are exported together."
    )
    otlp_timeout_seconds: float = Field(
        default=2.0, gt=0, le=60, description="Patience with who takes the spans; after it they are dropped."
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of traces recorded that begin here; a caller's own choice holds."
    )

    metrics: bool = Field(
        default=True, description="Whether the service measures; without, /metrics has the process alone."
    )

    drain_seconds: float = Field(default=20.0, gt=0, description="Time to finish what was fetched after SIGTERM.")
    # Less than the launcher's and a probe's patience, so that the stacks are written before somebody kills the process.
    loop_frozen_seconds: float = Field(
        default=30.0, ge=2, description="A process whose event loop stands still for this long ends with code 71."
    )
    stale_after_seconds: float = Field(
        default=45.0, gt=0, description="A service whose consumers did not fetch for this long is no longer live."
    )

    @property
    def logger_levels(self) -> dict[str, str]:
        """Return the levels of single loggers by name."""
        pairs = (pair.partition("=") for pair in self.log_levels.split(",") if pair.strip())
        return {name.strip(): level.strip() for name, _, level in pairs}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put arguments before files before the environment."""
        return init_settings, FileSource(settings_cls), env_settings


S = TypeVar("S", bound=PlatformSettings)
_REMOTE: Final = "@remote."


def load(settings: type[S]) -> S:
    """Read settings; a value that does not fit ends the process with code 2 and one line that names it."""
    try:
        return settings()
    except (ValidationError, OSError) as error:
        raise SystemExit(_refuse(error)) from None


def _refuse(error: ValidationError | OSError) -> int:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(["RAG", *map(str, problem["loc"])]).upper()
        what = f"setting {name} is wrong" if problem["loc"] else "a setting is missing"
        sys.stderr.write(f"{what}: {problem['msg'].removeprefix('Value error, ')}\n")
    else:
        sys.stderr.write(f"a RAG_…_FILE setting names a file that cannot be read: {error}\n")
    return EXIT_MISCONFIGURED


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """An embedding model: a pinned local one, or with a `url` the name that a remote endpoint knows."""

    name: str
    dimension: int
    url: str | None

    @property
    def key(self) -> tuple[str, int | None]:
        """Return what tells configured models apart: as the fingerprint, but also for a model that is not known."""
        return self.name, self.dimension if self.url else None

    @property
    def fingerprint(self) -> str:
        """Return the identity of the model whose vectors may be compared; raises models.UnknownModel."""
        return f"{self.name}{_REMOTE}{self.dimension}" if self.url else models.fingerprint(self.name)


def model_variables(fingerprint: str, prefix: str = "RAG_") -> str:
    """Return the settings that choose the model of a fingerprint, as a person would write them."""
    name, remote, dimension = fingerprint.partition(_REMOTE)
    if not remote:
        return f"{prefix}EMBEDDING_MODEL={name.partition('@')[0]}"
    return f"{prefix}EMBEDDING_MODEL={name} {prefix}EMBEDDING_DIMENSION={dimension} {prefix}EMBEDDING_URL=…"


class EmbeddingModelSettings(PlatformSettings):
    """Settings of the services that must agree on one embedding model, and on the next one while it takes over."""

    embedding_model: str = Field(
        default="bge-small-en-v1.5-int8", description="Pinned local model, or the name a remote endpoint knows."
    )
    embedding_dimension: int = Field(default=384, ge=1, le=8192, description="Length of the model's vectors.")
    embedding_url: str | None = Field(
        default=None, description="Base URL of an OpenAI-compatible /v1/embeddings; none = the local model."
    )
    next_embedding_model: str | None = Field(
        default=None, description="Model that `rag reindex` shall switch to; none = no switch is planned."
    )
    next_embedding_dimension: int = Field(default=384, ge=1, le=8192, description="Length of the next model's vectors.")
    next_embedding_url: str | None = Field(default=None, description="Base URL of the next model; none = a local one.")

    @property
    def embedding(self) -> EmbeddingModel:
        """Return the configured model."""
        return EmbeddingModel(self.embedding_model, self.embedding_dimension, self.embedding_url)

    @property
    def next_embedding(self) -> EmbeddingModel | None:
        """Return the model to switch to; None when there is none, or when it is the configured one already."""
        if not self.next_embedding_model:
            return None
        found = EmbeddingModel(self.next_embedding_model, self.next_embedding_dimension, self.next_embedding_url)
        return None if found.key == self.embedding.key else found

    @property
    def embedding_fingerprint(self) -> str:
        """Return the identity of the configured model; raises models.UnknownModel."""
        return self.embedding.fingerprint
