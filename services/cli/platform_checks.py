"""What `rag doctor` checks on a platform that runs: every service, the broker's topology, and the counts."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from services.cli.broker_access import BrokerLogin, jetstream
from services.cli.client import Gateway
from services.cli.errors import CommandError
from services.cli.findings import Finding, bad, good, skipped
from services.cli.part_checks import check_parts
from services.cli.scaling import SERVICES
from services.cli.settings import LauncherSettings
from services.cli.terminal import one_line
from shared.messaging.provisioning import drift

CONNECT_SECONDS: Final = 3.0
# Work in progress makes the counts differ for a moment; a difference that stays is a finding.
COUNT_TRIES: Final = 4
COUNT_PAUSE_SECONDS: Final = 1.0


async def check_platform(url: str, settings: LauncherSettings) -> list[Finding]:
    """Run every check; when there is no gateway the others are skipped."""
    async with Gateway(url) as gateway:
        try:
            health = await gateway.get_health()
        except CommandError as error:
            rest = [
                skipped(name, "not checked without the gateway") for name in ("services", "topology", "model", "counts")
            ]
            return [bad("reachable", str(error)), *rest]
        reachable = good("reachable", f"{gateway.url}, version {one_line(health.get('version'))}")
        topology = await check_topology((health.get("broker") or {}).get("url"), settings)
        counts = await check_counts(gateway, health)
    services = health.get("services") or {}
    return [reachable, *check_services(services), *check_parts(health), topology, check_model(services), counts]


def check_services(services: dict[str, Any]) -> list[Finding]:
    """Check that each service has a replica and that all replicas are ready."""
    return [_check_service(name, services.get(name) or {}) for name in SERVICES]


async def check_topology(broker_url: str | None, settings: LauncherSettings) -> Finding:
    """Check that streams and consumers are as declared."""
    if not broker_url:
        return skipped("topology", "the gateway does not say where its broker is")
    login = BrokerLogin.of(settings, broker_url)
    if login.user is None:
        return skipped("topology", "no credentials; name the data folder with --data, or set RAG_NATS_USER")
    try:
        async with asyncio.timeout(CONNECT_SECONDS * 3):
            async with jetstream(login, connect_seconds=CONNECT_SECONDS) as js:
                differences = await drift(js, replicas=settings.nats_replicas)
    except CommandError as error:
        return bad("topology", str(error))
    except TimeoutError:
        return bad("topology", f"the broker at {broker_url} does not answer; look at its log")
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        return bad("topology", f"{differences[0]}{more}; run `rag provision`")
    return good("topology", "as declared")


def check_model(services: dict[str, Any]) -> Finding:
    """Check that every embedder has the model whose vectors the active index holds."""
    indexed = [found for found in _details(services, "retriever", "index") if found.get("model")]
    embedders = _details(services, "embedder", "model")
    if not indexed or not embedders:
        return skipped("model", "retriever and embedder do not both say which model they have")
    model = indexed[0]["model"]
    if any(found["model"] != model for found in indexed):
        return bad("model", "retrievers search by different models; configure all alike and start them again")
    if any(model not in (found.get("model"), found.get("next_model")) for found in embedders):
        return bad("model", f"the index holds {one_line(model)}, which an embedder does not have; configure all alike")
    upcoming = indexed[0].get("next") or {}
    rest = f"; {one_line(upcoming['model'])} is next: run `rag reindex`" if upcoming else ""
    return good("model", f"{one_line(model)}{rest}")


async def check_counts(gateway: Gateway, health: dict[str, Any]) -> Finding:
    """Check that as many chunks are in the index as the database says."""
    for attempt in range(COUNT_TRIES):
        stored = _chunks(health, "persistence", "database")
        indexed = _chunks(health, "retriever", "index")
        if stored is None or indexed is None:
            return skipped("counts", "persistence and retriever do not both say how many chunks they have")
        if stored == indexed:
            return good("counts", f"{stored} chunks in the database and in the index")
        if attempt + 1 < COUNT_TRIES:
            await asyncio.sleep(COUNT_PAUSE_SECONDS)
            health = await gateway.get_health()
    return bad(
        "counts",
        f"{stored} chunks in the database, {indexed} in the index; if nothing is being loaded (`rag status`), "
        "run `rag doctor --reconcile`",
    )


def _check_service(name: str, service: dict[str, Any]) -> Finding:
    replicas = service.get("replicas") or []
    if not replicas:
        return bad(name, "no replica answers; see its log, or start everything with `rag up`")
    waiting = [replica for replica in replicas if not replica.get("ready")]
    if not waiting:
        return good(name, f"{len(replicas)} ready")
    reasons = "; ".join(f"{one_line(one.get('instance'))}: {_reason(one.get('details') or {})}" for one in waiting)
    return bad(name, f"{len(waiting)} of {len(replicas)} not ready ({reasons}); see its log")


def _reason(details: dict[str, Any]) -> str:
    if details.get("waiting_for"):
        return f"waiting for {one_line(details['waiting_for'])}"
    failed = [
        f"{name}: {one_line(check.get('error'))}"
        for name, check in details.items()
        if isinstance(check, dict) and check.get("status") == "failed"
    ]
    return ", ".join(failed) or "no reason given"


def _details(services: dict[str, Any], service: str, check: str) -> list[dict[str, Any]]:
    replicas: Iterable[dict[str, Any]] = (services.get(service) or {}).get("replicas") or []
    return [found for replica in replicas if (found := (replica.get("details") or {}).get(check))]


def _chunks(health: dict[str, Any], service: str, check: str) -> int | None:
    replicas: Iterable[dict[str, Any]] = ((health.get("services") or {}).get(service) or {}).get("replicas") or []
    for replica in replicas:
        found = ((replica.get("details") or {}).get(check) or {}).get("chunks")
        if isinstance(found, int):
            return found
    return None
