"""What gets into the audit, and what bounds it."""

import asyncio
from typing import Any, cast

import pytest
from opentelemetry.metrics import NoOpMeter
from structlog.testing import capture_logs

from contracts.audit import AdminCalled, AuditFact, AuthFailed, Deleted, KeyUsed, LettersReplayed
from contracts.messages import Message
from services.gateway.audit_trail import MAX_FAILURES, MAX_WAITING, AuditTrail, lost_facts
from services.gateway.authentication import Unauthenticated
from services.gateway.principal import Principal, Scope
from services.gateway.routes import ROUTERS
from shared.errors import Unavailable
from shared.messaging.publishing import Publisher

ADMIN = Principal("acme", frozenset(Scope), "key1")
ROUTES: dict[str, Any] = {
    f"{method} {route.path}": route for router in ROUTERS for route in router.routes for method in route.methods
}


class Kept:
    """Takes facts as the broker would; `away` has it refuse them."""

    def __init__(self) -> None:
        self.facts: list[AuditFact] = []
        self.away = False

    async def publish(self, subject: str, fact: Message, *, tenant: str, message_id: str) -> None:
        if self.away:
            raise Unavailable("the broker is away")
        assert isinstance(fact, AuditFact)
        assert (subject.startswith("rag.v1.facts.audit."), tenant, message_id) == (True, fact.tenant, fact.audit_id)
        self.facts.append(fact)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def trail(kept: Kept) -> AuditTrail:
    return AuditTrail(cast("Publisher", kept), lost_facts(NoOpMeter("test")))


async def published(trail: AuditTrail) -> None:
    running = asyncio.create_task(trail.run())
    await trail.flush()
    running.cancel()


def request(name: str, /, **params: Any) -> dict[str, Any]:
    return {
        "method": name.partition(" ")[0],
        "route": ROUTES[name],
        "path_params": params,
        "client": ("192.0.2.7", 1234),
    }


async def test_a_delete_tells_who_deleted_what(kept: Kept, trail: AuditTrail) -> None:
    trail.answered(request("DELETE /v1/documents/{document_id:path}", document_id="a/b"), ADMIN, 202)
    await published(trail)
    [fact] = kept.facts
    assert isinstance(fact, Deleted)
    assert (fact.tenant, fact.actor, fact.target, fact.status) == ("acme", "key1", {"document_id": "a/b"}, 202)
    assert fact.route == "/v1/documents/{document_id:path}"


async def test_what_changes_something_is_told_every_time_and_looking_once(kept: Kept, trail: AuditTrail) -> None:
    for _ in range(3):
        trail.answered(request("POST /v1/admin/dead-letters/{seq}/replay", seq=7), ADMIN, 200)
        trail.answered(request("GET /v1/admin/pipeline"), ADMIN, 200)
    trail.answered(request("GET /v1/admin/pipeline"), Principal("acme", frozenset(Scope), "key2"), 200)
    await published(trail)
    assert [type(fact) for fact in kept.facts].count(LettersReplayed) == 3
    assert [fact.actor for fact in kept.facts if isinstance(fact, AdminCalled)] == ["key1", "key2"]
    assert kept.facts[0].target == {"seq": "7"}


async def test_a_key_is_told_once_a_minute_and_anybody_never(kept: Kept, trail: AuditTrail) -> None:
    for _ in range(3):
        trail.used(request("POST /v1/search"), ADMIN)
        trail.used(request("POST /v1/search"), Principal("default", frozenset(Scope)))
    await published(trail)
    [fact] = kept.facts
    assert isinstance(fact, KeyUsed)
    assert (fact.tenant, fact.actor, fact.address) == ("acme", "key1", "192.0.2.7")


async def test_who_tries_thousands_of_keys_does_not_fill_the_audit(kept: Kept, trail: AuditTrail) -> None:
    for number in range(5_000):
        trail.failed(request("POST /v1/search"), Unauthenticated("unknown_key", "no", key_id=f"key{number}"))
    trail.failed(request("POST /v1/search"), Unauthenticated("wrong_secret", "no", key_id="key1"))
    await published(trail)
    assert [fact.reason for fact in kept.facts] == ["unknown_key"] * MAX_FAILURES + ["wrong_secret"]
    assert all(isinstance(fact, AuthFailed) and fact.tenant == "default" for fact in kept.facts)


async def test_a_failure_belongs_to_the_tenant_whose_key_was_proven(kept: Kept, trail: AuditTrail) -> None:
    trail.failed(request("POST /v1/search"), Unauthenticated("expired", "no", key_id="key1", tenant="acme"))
    await published(trail)
    assert [(fact.tenant, fact.reason, fact.status) for fact in kept.facts] == [("acme", "expired", 401)]


async def test_what_cannot_be_published_is_said_in_the_log_and_holds_nobody_up(kept: Kept, trail: AuditTrail) -> None:
    kept.away = True
    with capture_logs() as logs:
        for _ in range(MAX_WAITING + 1):
            trail.answered(request("DELETE /v1/collections/{name}", name="x"), ADMIN, 202)
        assert [line["event"] for line in logs] == ["audit_fact_lost"]
        await published(trail)
    assert len(logs) == MAX_WAITING + 1
    assert logs[0]["target"] == {"name": "x"}
    assert str(logs[-1]["why"]) == "the broker is away"


async def test_what_is_left_when_the_gateway_ends_is_said_in_the_log(
    trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.audit_trail.FLUSH_SECONDS", 0.01)
    trail.answered(request("DELETE /v1/collections/{name}", name="x"), ADMIN, 202)
    with capture_logs() as logs:
        await trail.flush()
    assert [line["why"] for line in logs] == ["the gateway ended"]
