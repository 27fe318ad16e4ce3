"""Settings that the commands read themselves; everything else in the environment goes to the services as it is."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError, field_validator

from services.cli.broker_config import BrokerTLS
from services.cli.errors import CommandError
from shared.access import auth_modes
from shared.settings import EmbeddingModelSettings, PlatformSettings

S = TypeVar("S", bound=PlatformSettings)


class ClientTLSSettings(PlatformSettings):
    """How the commands speak TLS to a gateway whose address begins with https."""

    tls_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed the gateway's certificate; none = public ones."
    )
    tls_cert: Path | None = Field(
        default=None, description="PEM file of our own certificate for the gateway, for mutual TLS."
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")


class ClientSettings(ClientTLSSettings):
    """Who the commands are to the gateway."""

    api_key: str | None = Field(default=None, repr=False, description="API key of every command that calls a gateway.")


class LauncherSettings(ClientTLSSettings, EmbeddingModelSettings):
    """What decides how the services may be started on one machine."""

    qdrant_url: str | None = Field(default=None, description="Qdrant server; none = the embedded index.")
    database_url: str | None = Field(
        default=None, repr=False, description="SQL database; none = SQLite in the data folder."
    )

    auth: str = Field(default="off", description="Who may call the gateway: keys, jwt, keys,jwt, or off.")
    key_pepper: str | None = Field(
        default=None, repr=False, description="Secret that API keys are hashed with; none = one in the data folder."
    )

    gateway_tls_cert: Path | None = Field(default=None, description="The gateway's certificate; none = HTTP.")
    gateway_tls_key: Path | None = Field(default=None, description="The key of that certificate.")
    gateway_tls_client_ca: Path | None = Field(default=None, description="Whose clients alone the gateway lets in.")

    up_unresponsive_seconds: float = Field(
        default=60.0,
        ge=0,
        description="`rag up` restarts a process that does not answer, or is not live, for so long (0 = never).",
    )

    up_nats_tls_cert: Path | None = Field(
        default=None, description="PEM file of the certificate of the broker of `rag up`; none = no TLS."
    )
    up_nats_tls_key: Path | None = Field(default=None, description="PEM file of the key of that certificate.")

    @property
    def broker_tls(self) -> BrokerTLS | None:
        """Return the TLS of the local broker, mutual as soon as our own services have a certificate as well.

        CommandError when half of it is set.
        """
        cert, key = self.up_nats_tls_cert, self.up_nats_tls_key
        if cert is None and key is None:
            return None
        if cert is None or key is None:
            raise CommandError("RAG_UP_NATS_TLS_CERT and RAG_UP_NATS_TLS_KEY belong together; set both or none")
        clients = self.nats_tls_ca if self.nats_tls_cert is not None else None
        return BrokerTLS(cert.absolute(), key.absolute(), clients and clients.absolute())

    @field_validator("auth")
    @classmethod
    def _known(cls, value: str) -> str:
        auth_modes(value)
        return value

    @property
    def has_qdrant_server(self) -> bool:
        """Tell whether several processes may use the index."""
        return bool(self.qdrant_url)

    @property
    def has_sql_server(self) -> bool:
        """Tell whether several processes may write to the database."""
        return bool(self.database_url) and not str(self.database_url).startswith("sqlite")


def load(kind: type[S]) -> S:
    """Return settings from the environment; CommandError names the first variable that is wrong."""
    try:
        return kind()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = "RAG_" + "_".join(map(str, problem["loc"])).upper()
        reason = problem["msg"].removeprefix("Value error, ")
        raise CommandError(f"{name}: {reason}; change or unset it") from None
    except OSError as error:
        raise CommandError(f"a RAG_…_FILE cannot be read: {error.strerror}: {error.filename}") from None
