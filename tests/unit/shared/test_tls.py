"""Which files TLS is made of: what does not fit is refused at the start, by the name of the setting."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from opentelemetry.metrics import NoOpMeter

from services.agent.settings import AgentSettings
from services.embedder.settings import EmbedderSettings
from services.gateway.settings import GatewaySettings
from services.persistence.database import database_url
from services.persistence.settings import PersistenceSettings
from services.retriever.settings import RetrieverSettings
from shared.caching.redis_tls import redis_trust
from shared.caching.settings import RedisSettings
from shared.errors import Misconfigured
from shared.service import Service
from shared.settings import EXIT_MISCONFIGURED, PlatformSettings
from shared.span_export import SpanExport
from shared.tls import client_context, context_of, tls_trouble
from tests.certificates import Authority, Certificate

# The settings of a connection: their class, how their names begin, which one is the address, and its scheme.
CONNECTIONS: dict[str, tuple[type[PlatformSettings], str, str]] = {
    "redis_tls": (RedisSettings, "redis_url", "rediss"),
    "qdrant_tls": (RetrieverSettings, "qdrant_url", "https"),
    "llm_tls": (AgentSettings, "llm_base_url", "https"),
    "embedding_tls": (EmbedderSettings, "embedding_url", "https"),
    "next_embedding_tls": (EmbedderSettings, "next_embedding_url", "https"),
    "otlp_tls": (PlatformSettings, "otlp_endpoint", "https"),
    "jwt_tls": (GatewaySettings, "jwt_issuer", "https"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    return authority.certificate("ours")


def context(prefix: str, *, plain: bool = False, **files: Path) -> ssl.SSLContext | None:
    kind, address, scheme = CONNECTIONS[prefix]
    given: dict[str, Any] = {f"{prefix}_{part}": path for part, path in files.items()}
    given[address] = f"{scheme.removesuffix('s') if plain else scheme}://127.0.0.1:9"
    return context_of(kind(**given), prefix, address, scheme)


@pytest.mark.parametrize("prefix", CONNECTIONS)
def test_a_file_for_an_address_without_tls_is_refused(prefix: str, authority: Authority) -> None:
    """Else somebody believes in a protection that is not there."""
    with pytest.raises(Misconfigured, match=rf"RAG_{prefix.upper()}_CA is set, but RAG_.* does not begin with"):
        context(prefix, plain=True, ca=authority.ca)


@pytest.mark.parametrize("prefix", CONNECTIONS)
def test_a_file_that_cannot_be_used_is_named_with_its_setting(prefix: str, tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    with pytest.raises(Misconfigured, match=rf"RAG_{prefix.upper()}_CA: .*none\.pem"):
        context(prefix, ca=missing)


@pytest.mark.parametrize("prefix", CONNECTIONS)
def test_without_files_nothing_changes(prefix: str) -> None:
    assert context(prefix) is None


def test_half_a_pair_and_a_pair_that_does_not_fit_are_refused(authority: Authority, ours: Certificate) -> None:
    with pytest.raises(Misconfigured, match="RAG_X_CERT and RAG_X_KEY belong together"):
        client_context("RAG_X", authority.ca, ours.cert)
    other = authority.certificate("other")
    with pytest.raises(Misconfigured, match=r"RAG_X_CERT, RAG_X_KEY: .*ours\.crt and .*other\.key cannot be used"):
        client_context("RAG_X", authority.ca, ours.cert, other.key)


def test_a_key_that_needs_a_password_is_refused_and_nobody_is_asked_for_one(
    authority: Authority, ours: Certificate, tmp_path: Path
) -> None:
    key = load_pem_private_key(ours.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(Misconfigured, match=r"RAG_X_CERT, RAG_X_KEY: .*locked\.key cannot be used"):
        client_context("RAG_X", authority.ca, ours.cert, locked)


def test_an_authority_that_is_named_is_the_only_one(authority: Authority) -> None:
    """INVARIANT: with an authority of one's own no public one is trusted, whose certificates anybody can get."""
    assert client_context("RAG_X", authority.ca).cert_store_stats()["x509_ca"] == 1


def test_redis_over_tls_is_checked_without_any_file() -> None:
    trust = redis_trust(RedisSettings(redis_url="rediss://127.0.0.1:9/0"))
    assert trust is not None
    assert (trust.verify_mode, trust.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_spans_for_a_collector_without_tls_are_refused(authority: Authority) -> None:
    settings = PlatformSettings(otlp_endpoint="http://127.0.0.1:9", otlp_tls_ca=authority.ca)
    with pytest.raises(Misconfigured, match="RAG_OTLP_TLS_CA is set"):
        SpanExport(settings, NoOpMeter("test"))


def test_a_service_whose_files_do_not_fit_ends_with_code_2(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        Service("test", PlatformSettings(otlp_endpoint="http://127.0.0.1:9", otlp_tls_ca=authority.ca))
    assert ended.value.code == EXIT_MISCONFIGURED
    assert "RAG_OTLP_TLS_CA" in "".join(capsys.readouterr())


@pytest.mark.parametrize("mode", ["", "&sslmode=prefer", "&sslmode=allow", "&sslmode=disable"])
def test_an_authority_that_the_database_would_not_be_checked_by_is_refused(mode: str) -> None:
    with pytest.raises(Misconfigured, match="sslmode=verify-full"):
        database_url(PersistenceSettings(database_url=f"postgresql://rag@127.0.0.1/rag?sslrootcert=/ca.crt{mode}"))


@pytest.mark.parametrize("query", ["sslrootcert=system", "sslmode=verify-full&sslrootcert=/ca.crt", "sslmode=require"])
def test_other_ways_of_the_database_are_left_to_it(query: str) -> None:
    settings = PersistenceSettings(database_url=f"postgresql://rag@127.0.0.1/rag?{query}")
    assert "ssl" in str(database_url(settings))


def test_what_is_no_failure_of_tls_is_not_explained_as_one() -> None:
    error = ConnectionError("refused")
    error.__cause__ = OSError(111, "Connection refused")
    error.__context__ = error
    assert tls_trouble(error, "RAG_X") is None
