"""`rag doctor` says of every part behind the services, in words, what it is and what is wrong with it."""

from typing import Any

import pytest

from tests.integration.cli.fake_gateway import FakeGateway, Rag, health

WELL: dict[str, Any] = {
    "broker": {"url": "nats://127.0.0.1:1", "server": "2.15.1", "connected": True, "answers": True},
    "lanes": {"bulk": 2, "interactive": 1},
    "parts": {
        "database": {"status": "ok", "kind": "sqlite", "documents": 3, "chunks": 12},
        "index": {"status": "ok", "engine": "qdrant-edge", "version": "0.9.0", "chunks": 12, "model": "bge@1"},
        "cache": {"status": "ok", "kind": "memory", "entries": 4, "bytes": 9},
        "llm": {"status": "ok", "configured": True, "model": "m", "host": "llm:8080", "has_key": True, "state": "ok"},
    },
    "consumers": [{"name": "parser", "backlog": 7, "replicas": 1, "last_fetch_age_seconds": 0.5}],
}


def found(rag: Rag, gateway: FakeGateway, **changes: Any) -> dict[str, tuple[str, str]]:
    """Return verdict and message by check."""
    parts = {**WELL["parts"], **changes.pop("parts", {})}
    gateway.health = health(**{**WELL, "parts": parts, **changes})
    return {check["check"]: (check["verdict"], check["message"]) for check in rag("doctor", "--json").json["checks"]}


def test_every_part_is_named(rag: Rag, gateway: FakeGateway) -> None:
    told = found(rag, gateway)
    assert told["broker"] == ("good", "nats-server 2.15.1 at nats://127.0.0.1:1")
    assert told["embedding lanes"] == ("good", "bulk 2, interactive 1")
    assert told["database"] == ("good", "sqlite, 3 documents, 12 chunks")
    assert told["index"] == ("good", "qdrant-edge 0.9.0, 12 chunks of bge@1")
    assert told["cache"] == ("good", "in memory, each process its own (4 entries here)")
    assert told["language model"] == ("good", "m at llm:8080")
    assert told["consumers"] == ("good", "1 are read, 7 messages wait")


@pytest.mark.parametrize(
    ("check", "changes", "words"),
    [
        ("broker", {"broker": {"url": "nats://b:1", "connected": False}}, "no connection to nats://b:1"),
        ("broker", {"broker": {"url": "nats://b:1", "connected": True, "answers": False}}, "does not answer"),
        ("embedding lanes", {"lanes": {"bulk": 1, "interactive": 0}}, "RAG_EMBEDDER_LANES=interactive"),
        ("database", {"parts": {"database": {"status": "failed", "error": "no answer within 0.5 s"}}}, "no answer"),
        ("cache", {"parts": {"cache": {"status": "ok", "kind": "redis", "state": "away"}}}, "Redis does not answer"),
        ("language model", {"parts": {"llm": {"configured": True, "model": "m", "state": "away"}}}, "again and again"),
        ("consumers", {"consumers": [{"name": "agent", "replicas": 0}]}, "nobody reads agent"),
        ("consumers", {"consumers": [{"name": "agent", "replicas": 1, "last_fetch_age_seconds": 40}]}, "by agent"),
    ],
    ids=["gone", "hangs", "lane", "database", "cache", "llm", "unread", "late"],
)
def test_what_is_wrong_with_a_part_is_said(
    rag: Rag, gateway: FakeGateway, check: str, changes: dict[str, Any], words: str
) -> None:
    verdict, message = found(rag, gateway, **changes)[check]
    assert (verdict, words in message) == ("bad", True), message


def test_a_platform_without_a_language_model_and_with_redis_is_well(rag: Rag, gateway: FakeGateway) -> None:
    parts = {"llm": {"status": "ok", "configured": False}, "cache": {"status": "ok", "kind": "redis", "state": "ok"}}
    told = found(rag, gateway, parts=parts)
    assert told["language model"][1].startswith("none")
    assert told["cache"] == ("good", "Redis, shared by all replicas")


def test_the_state_shows_what_is_wrong_in_words(rag: Rag, gateway: FakeGateway) -> None:
    gateway.health = health(status="degraded", problems=["no embedder of the interactive lane is ready"])
    assert "no embedder of the interactive lane is ready" in rag("status").out.splitlines()
    assert rag("status", "--json").json["problems"] == ["no embedder of the interactive lane is ready"]
