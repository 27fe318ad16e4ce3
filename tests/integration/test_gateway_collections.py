"""Deleting collections and comparing with the index, over HTTP."""

from collections.abc import AsyncIterator

import pytest

from contracts import subjects
from contracts.reconciliation import IndexFence, ReconcileReply, ReconcileRequest
from shared.messaging.broker import settle
from shared.messaging.requests import respond
from tests.integration.gateway_stand import TENANT, Stand, document, running_stand
from tests.running import eventually
from tests.servers import NatsServer


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker) as running:
        yield running


async def test_a_deleted_collection_is_hidden_before_the_answer(stand: Stand) -> None:
    """INVARIANT: deleted is gone; answering before the index has the fence would let the next search show it."""
    await stand.http.post("/v1/documents", json={"documents": [document(collection="c"), document(id="b")]})
    response = await stand.http.delete("/v1/collections/c")

    assert response.status_code == 202
    assert response.json() == {"name": "c", "revision": 3, "status": "deleted"}
    assert stand.retriever.collection_fences == [IndexFence(tenant=TENANT, collection="c", floor=3)]
    await eventually(lambda: stand.persistence.messages[-1].op == "delete_collection", "the delete is on the queue")
    assert stand.persistence.messages[-1].collection == "c"


async def test_the_default_collection_is_deleted_like_any_other(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    response = await stand.http.delete("/v1/collections/default")
    assert (response.status_code, response.json()["name"]) == (202, "default")


@pytest.mark.parametrize(
    ("name", "status", "code"), [("nothing", 404, "collection_not_found"), ("no%20name", 422, "invalid_request")]
)
async def test_a_collection_that_is_none_cannot_be_deleted(stand: Stand, name: str, status: int, code: str) -> None:
    response = await stand.http.delete(f"/v1/collections/{name}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert await stand.ingested() == 0


async def test_a_delete_that_the_index_does_not_confirm_says_so(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document(collection="c")]})
    stand.retriever.failure = RuntimeError("the index is broken")
    response = await stand.http.delete("/v1/collections/c")
    assert (response.status_code, response.json()["code"]) == (503, "delete_not_confirmed")
    assert "revision 2" in response.json()["detail"]
    await eventually(lambda: len(stand.persistence.messages) == 2, "the delete is recorded")


async def test_a_step_of_a_comparison_is_passed_on(stand: Stand) -> None:
    asked: list[ReconcileRequest] = []

    async def step(request: ReconcileRequest, _deadline: float | None) -> ReconcileReply:
        asked.append(request)
        return ReconcileReply(documents=2, points=5, counts={"orphan": {"repaired": 1}}, cursor="revisions:7")

    service = stand.service
    await respond(
        stand.client,
        service.telemetry.tracer,
        service.metrics,
        subjects.RECONCILE,
        ReconcileRequest,
        step,
        queue="persistence",
        concurrency=1,
    )
    await settle(stand.client)

    response = await stand.http.post("/v1/admin/reconcile", json={"cursor": "revisions:3"})

    assert response.json() == {
        "documents": 2,
        "points": 5,
        "counts": {"orphan": {"repaired": 1}},
        "findings": [],
        "cursor": "revisions:7",
    }
    assert asked == [ReconcileRequest(cursor="revisions:3")]
