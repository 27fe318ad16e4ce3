"""What `rag doctor` says of the parts behind the services, each in words, as the gateway's health tells them."""

from collections.abc import Callable
from typing import Any, Final

from services.cli.findings import Finding, bad, good, skipped
from services.cli.terminal import one_line

STUCK_FETCH_SECONDS: Final = 30.0


def check_parts(health: dict[str, Any]) -> list[Finding]:
    """Return a finding for the broker, both lanes, the database, the index, the cache, the model and the consumers."""
    parts = health.get("parts") or {}
    told: dict[str, Callable[[dict[str, Any]], Finding]] = {
        "database": _database,
        "index": _index,
        "cache": _cache,
        "language model": _llm,
    }
    names = {"language model": "llm"}
    found = [_part(name, parts.get(names.get(name, name)), say) for name, say in told.items()]
    return [_broker(health.get("broker") or {}), _lanes(health.get("lanes")), *found, _consumers(health)]


def _broker(broker: dict[str, Any]) -> Finding:
    address = one_line(broker.get("url", "?"))
    if broker.get("connected") is False:
        return bad("broker", f"the gateway has no connection to {address}; see nats-server's log, or start it again")
    if broker.get("answers") is False:
        return bad("broker", f"{address} does not answer; see whether nats-server hangs, and start it again")
    return good("broker", f"nats-server {one_line(broker.get('server') or 'of unknown version')} at {address}")


def _lanes(lanes: dict[str, int] | None) -> Finding:
    if not lanes:
        return skipped("embedding lanes", "the gateway does not tell them")
    idle = [one_line(lane) for lane, ready in lanes.items() if not ready]
    if idle:
        return bad(
            "embedding lanes",
            f"no embedder of the {' and '.join(idle)} lane is ready; start one with RAG_EMBEDDER_LANES={idle[0]}",
        )
    return good("embedding lanes", ", ".join(f"{one_line(lane)} {ready}" for lane, ready in lanes.items()))


def _part(name: str, part: dict[str, Any] | None, say: Callable[[dict[str, Any]], Finding]) -> Finding:
    if part is None:
        return skipped(name, "no replica tells of it")
    if part.get("status") == "failed":
        return bad(name, f"{one_line(part.get('error', 'failed'))}; see the log of the service that uses it")
    return say(part)


def _database(part: dict[str, Any]) -> Finding:
    kind = one_line(part.get("kind", "database"))
    return good("database", f"{kind}, {part.get('documents', '?')} documents, {part.get('chunks', '?')} chunks")


def _index(part: dict[str, Any]) -> Finding:
    engine = f"{one_line(part.get('engine', 'index'))} {one_line(part.get('version') or '')}".strip()
    return good("index", f"{engine}, {part.get('chunks', '?')} chunks of {one_line(part.get('model', '?'))}")


def _cache(part: dict[str, Any]) -> Finding:
    if part.get("state") == "away":
        if reason := part.get("reason"):
            return bad("cache", f"Redis cannot be used, searches and answers are slower: {one_line(reason, 300)}")
        return bad(
            "cache", "Redis does not answer: searches and answers are slower; see RAG_REDIS_URL and Redis itself"
        )
    if part.get("kind") == "redis":
        return good("cache", "Redis, shared by all replicas")
    return good("cache", f"in memory, each process its own ({part.get('entries', 0)} entries here)")


def _llm(part: dict[str, Any]) -> Finding:
    if not part.get("configured"):
        return good("language model", "none: answers are sentences of the documents (RAG_LLM_BASE_URL adds one)")
    where = f"{one_line(part.get('model', '?'))} at {one_line(part.get('host', '?'))}"
    if part.get("state") == "away":
        return bad("language model", f"{where} fails again and again; see the agent's log and RAG_LLM_BASE_URL")
    return good("language model", where if part.get("has_key") else f"{where}, asked without a key")


def _consumers(health: dict[str, Any]) -> Finding:
    consumers = health.get("consumers") or []
    if not consumers:
        return skipped("consumers", "the gateway does not tell them")
    unread = [one_line(one.get("name")) for one in consumers if not one.get("replicas")]
    if unread:
        return bad("consumers", f"nobody reads {', '.join(unread)}; see the logs of the services that are not ready")
    late = [
        one_line(one["name"]) for one in consumers if (one.get("last_fetch_age_seconds") or 0) > STUCK_FETCH_SECONDS
    ]
    if late:
        return bad(
            "consumers", f"nothing was fetched for {STUCK_FETCH_SECONDS:g} s by {', '.join(late)}; see their logs"
        )
    waiting = sum(one.get("backlog") or 0 for one in consumers)
    return good("consumers", f"{len(consumers)} are read, {waiting} messages wait")
