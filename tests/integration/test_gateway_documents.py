"""Documents through the gateway, on a real broker; the services behind it are stand-ins with state."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.js.api import StreamConfig

from contracts import subjects
from contracts.facts import DocumentFailed, DocumentParsed
from tests.integration.gateway_stand import TENANT, Stand, document, running_stand
from tests.running import eventually, stored
from tests.servers import NatsServer


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker, gateway_settle_seconds=0.4, request_timeout_seconds=2) as running:
        yield running


async def bound_ingest(stand: Stand, messages: int) -> None:
    """Let INGEST hold so many messages; the parser takes none away."""
    config: StreamConfig = (await stand.client.jetstream().stream_info("INGEST")).config
    await stand.client.jetstream().update_stream(config.evolve(max_msgs=messages))


async def test_an_accepted_document_is_on_the_queue_with_its_trace(stand: Stand) -> None:
    sent = {"documents": [document(title="Water", metadata={"year": 2026}, colour="ignored")]}
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await stand.http.post("/v1/documents", json=sent, headers={"traceparent": parent})
    assert response.status_code == 202
    receipt = {"id": "a", "collection": "default", "revision": 1, "status": "accepted", "duplicate": False}
    assert response.json() == {"documents": [receipt]}
    [message] = await stored(stand.client, "INGEST")
    assert message.subject == "rag.v1.ingest.default"
    assert message.headers is not None
    assert message.headers["traceparent"].split("-")[1] == response.headers["X-Trace-Id"] == parent.split("-")[1]
    assert (message.headers["Rag-Tenant"], message.headers["Content-Type"]) == (TENANT, "application/json")
    assert stand.persistence.messages[0].metadata == {"year": 2026}


async def test_documents_with_one_id_get_their_revisions_in_the_order_of_the_request(stand: Stand) -> None:
    """INVARIANT: the later write wins, also inside one request.

    Publishing all documents of a request at the same time would leave their order to chance.
    """
    sent = [document(id=f"d{index % 3}", text=f"version {index}") for index in range(60)]
    response = await stand.http.post("/v1/documents", json={"documents": sent})
    receipts = response.json()["documents"]
    assert [receipt["id"] for receipt in receipts] == [item["id"] for item in sent]
    for document_id in ("d0", "d1", "d2"):
        revisions = [receipt["revision"] for receipt in receipts if receipt["id"] == document_id]
        assert revisions == sorted(revisions)
    assert len({receipt["revision"] for receipt in receipts}) == 60


@pytest.mark.parametrize("document_id", ["a/b/c", "übermut ☂", "50%", "a?b#c", " ", "events", "i" * 256])
async def test_an_id_may_hold_any_printable_characters(stand: Stand, document_id: str) -> None:
    sent = await stand.http.post("/v1/documents", json={"documents": [document(id=document_id)]})
    assert sent.json()["documents"][0]["id"] == document_id
    path = "/v1/documents/" + document_id.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    assert (await stand.http.get(path)).json()["id"] == document_id
    assert (await stand.http.delete(path)).json()["id"] == document_id


@pytest.mark.parametrize("path", ["/v1/documents/", "/v1/documents/" + "i" * 257, "/v1/documents/a%07b"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_path_without_a_valid_id_is_refused(stand: Stand, method: str, path: str) -> None:
    response = await stand.http.request(method, path)
    assert (response.status_code, response.json()["field"]) == (422, "document_id")


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("text/plain", 415, "unsupported_media_type"),
        ("", 415, "unsupported_media_type"),
        ("application/json; charset=utf-8", 202, None),
        ("multipart/form-data", 400, "invalid_multipart"),
    ],
)
async def test_only_json_and_uploads_are_taken(stand: Stand, content_type: str, status: int, code: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await stand.http.post("/v1/documents", content=b'{"documents": [{"text": "x"}]}', headers=headers)
    assert (response.status_code, response.json().get("code")) == (status, code)


async def test_nothing_of_a_wrong_request_is_published(stand: Stand) -> None:
    sent = {"documents": [document(), document(content="not base64", media_type="text/plain")]}
    response = await stand.http.post("/v1/documents", json=sent)
    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == {"documents.1.content"}
    assert await stand.ingested() == 0


async def test_an_accepted_document_can_be_read_at_once(stand: Stand) -> None:
    stand.persistence.recording.clear()
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    reading = asyncio.create_task(stand.http.get("/v1/documents/a"))
    await asyncio.sleep(0.05)
    stand.persistence.recording.set()
    response = await reading
    assert (response.status_code, response.json()["status"]) == (200, "accepted")


async def test_an_accepted_document_is_never_reported_as_missing(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker, gateway_settle_seconds=0.1) as stand:
        stand.persistence.recording.clear()
        await stand.http.post("/v1/documents", json={"documents": [document()]})
        response = await stand.http.get("/v1/documents/a")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert (await stand.http.get("/v1/documents/other")).json()["code"] == "document_not_found"


async def test_a_document_shows_what_is_null(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    found = (await stand.http.get("/v1/documents/a")).json()
    assert (found["title"], found["uri"], found["error"]) == (None, None, None)
    assert found["chunks"] == {"total": 0, "indexed": 0}
    assert found["created_at"].endswith("Z")


async def test_a_caller_may_wait_for_the_outcome(stand: Stand) -> None:
    sent = {"documents": [document(id="good"), document(id="bad")]}
    waiting = asyncio.create_task(stand.http.post("/v1/documents?wait_s=30", json=sent))
    await eventually(lambda: len(stand.persistence.documents) == 2, "both are recorded")
    good, bad = (stand.persistence.documents[name] for name in ("good", "bad"))
    await stand.index("good", good.revision)
    await stand.publish_fact(
        DocumentFailed(
            tenant=TENANT, document_id="bad", revision=bad.revision, code="corrupt", message="cannot be read"
        )
    )
    response = await waiting
    receipts = {receipt["id"]: receipt for receipt in response.json()["documents"]}
    assert response.status_code == 202
    assert (receipts["good"]["status"], receipts["bad"]["status"]) == ("indexed", "failed")
    assert receipts["bad"]["error"] == {"code": "corrupt", "message": "cannot be read"}
    assert "error" not in receipts["good"]


async def test_a_wait_ends_with_its_time(stand: Stand) -> None:
    response = await stand.http.post("/v1/documents?wait_s=0.2", json={"documents": [document()]})
    assert (response.status_code, response.json()["documents"][0]["status"]) == (202, "accepted")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "x"])
async def test_a_wait_out_of_bounds_is_refused(stand: Stand, wait: str) -> None:
    response = await stand.http.post(f"/v1/documents?wait_s={wait}", json={"documents": [document()]})
    assert (response.status_code, response.json()["field"]) == (422, "wait_s")


async def test_the_facts_are_followed_only_while_somebody_waits(stand: Stand) -> None:
    waiting = asyncio.create_task(stand.http.post("/v1/documents?wait_s=30", json={"documents": [document()]}))
    await eventually(lambda: stand.gateway.notices.listening, "the gateway listens")
    await eventually(lambda: "a" in stand.persistence.documents, "the document is recorded")
    await stand.index("a", 1)
    await waiting
    await eventually(lambda: not stand.gateway.notices.listening, "the gateway rests")


async def test_the_events_of_a_document_end_at_its_terminal_state(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document(id="a/b")]})
    following = asyncio.create_task(stand.http.get("/v1/documents/a/b/events"))
    await eventually(lambda: stand.gateway.notices.listening, "the gateway listens")
    await stand.publish_fact(
        DocumentParsed(
            tenant=TENANT, document_id="a/b", revision=1, batches=1, chunks=2, characters=9, media_type="text/plain"
        )
    )
    await stand.index("a/b", 1)
    response = await following
    assert response.headers["Content-Type"].startswith("text/event-stream")
    events = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    assert [event.splitlines()[:2] for event in events] == [
        ["id: 1", "event: accepted"],
        ["id: 2", "event: processing"],
        ["id: 3", "event: indexed"],
    ]
    assert '"chunks":{"total":2,"indexed":0}' in events[1]


async def test_the_events_of_a_finished_document_are_its_state(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    await eventually(lambda: "a" in stand.persistence.documents, "the document is recorded")
    stand.persistence.put("a", 1, "indexed")
    response = await stand.http.get("/v1/documents/a/events")
    assert response.text.count("event:") == 1
    assert "event: indexed" in response.text
    assert (await stand.http.get("/v1/documents/other/events")).status_code == 404


async def test_an_event_stream_stays_open_with_heartbeats_and_ends_in_time(nats_broker: NatsServer) -> None:
    bounds = {"gateway_heartbeat_seconds": 0.05, "gateway_max_stream_seconds": 0.3}
    async with running_stand(nats_broker, **bounds) as stand:
        await stand.http.post("/v1/documents", json={"documents": [document()]})
        async with asyncio.timeout(5):
            response = await stand.http.get("/v1/documents/a/events")
    assert response.text.count("event: accepted") == 1
    assert response.text.count(": still here") >= 3


async def test_a_lost_notice_only_delays_an_event(nats_broker: NatsServer) -> None:
    async with running_stand(nats_broker, gateway_heartbeat_seconds=0.05) as stand:
        await stand.http.post("/v1/documents", json={"documents": [document()]})
        following = asyncio.create_task(stand.http.get("/v1/documents/a/events"))
        await eventually(lambda: stand.gateway.notices.listening, "the gateway listens")
        stand.persistence.put("a", 1, "indexed")
        async with asyncio.timeout(5):
            assert "event: indexed" in (await following).text


async def test_a_deleted_document_is_hidden_before_the_answer(stand: Stand) -> None:
    """INVARIANT: deleted is gone.

    Answering before every retriever holds the fence would let a search right after the answer show the document.
    """
    await stand.http.post("/v1/documents", json={"documents": [document(collection="c")]})
    response = await stand.http.delete("/v1/documents/a")
    assert response.status_code == 202
    assert response.json() == {"id": "a", "collection": "c", "revision": 2, "status": "deleted"}
    [fence] = stand.retriever.fences
    assert (fence.tenant, fence.document_id, fence.floor) == (TENANT, "a", 2)
    await eventually(lambda: stand.persistence.messages[-1].op == "delete", "the delete is on the queue")
    assert stand.persistence.messages[-1].collection == "c"


async def test_deleting_again_confirms_the_same_delete(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    await stand.http.delete("/v1/documents/a")
    await eventually(lambda: stand.persistence.documents["a"].status == "deleted", "the delete is recorded")
    response = await stand.http.delete("/v1/documents/a")
    assert (response.status_code, response.json()["revision"]) == (202, 2)
    assert await stand.ingested() == 2


async def test_a_document_that_was_just_accepted_can_be_deleted(stand: Stand) -> None:
    stand.persistence.recording.clear()
    await stand.http.post("/v1/documents", json={"documents": [document(collection="c")]})
    response = await stand.http.delete("/v1/documents/a")
    assert (response.status_code, response.json()["collection"]) == (202, "c")


async def test_deleting_what_never_was_is_refused(stand: Stand) -> None:
    response = await stand.http.delete("/v1/documents/nothing")
    assert (response.status_code, response.json()["code"]) == (404, "document_not_found")
    assert await stand.ingested() == 0


async def test_what_may_still_be_on_its_way_is_not_reported_as_missing_to_who_deletes_it(
    nats_broker: NatsServer,
) -> None:
    """INVARIANT: deleted is gone. A "not found" for what a producer has published would leave it to be searched."""
    async with running_stand(nats_broker, gateway_settle_seconds=0.1) as stand:
        stand.persistence.recording.clear()
        await stand.client.jetstream().publish(subjects.ingest(TENANT), b'{"id": "b", "text": "Water."}')
        response = await stand.http.delete("/v1/documents/b")
        assert (response.status_code, response.json()["code"]) == (503, "not_recorded_yet")
        assert "Retry-After" in response.headers
        stand.persistence.recording.set()
        await eventually(lambda: "b" in stand.persistence.documents, "the document is recorded")
        assert (await stand.http.delete("/v1/documents/b")).status_code == 202


async def test_a_document_straight_from_a_producer_can_be_deleted_at_once(stand: Stand) -> None:
    stand.persistence.recording.clear()
    await stand.client.jetstream().publish(subjects.ingest(TENANT), b'{"id": "b", "text": "Water."}')
    deleting = asyncio.create_task(stand.http.delete("/v1/documents/b"))
    await asyncio.sleep(0.05)
    stand.persistence.recording.set()
    assert (await deleting).status_code == 202


async def test_a_delete_that_the_index_does_not_confirm_says_so_and_can_be_confirmed_later(stand: Stand) -> None:
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    stand.retriever.failure = RuntimeError("the index is broken")
    response = await stand.http.delete("/v1/documents/a")
    assert (response.status_code, response.json()["code"]) == (503, "delete_not_confirmed")
    assert "Retry-After" in response.headers
    stand.retriever.failure = None
    await eventually(lambda: stand.persistence.documents["a"].status == "deleted", "the delete is recorded")
    assert (await stand.http.delete("/v1/documents/a")).status_code == 202
    assert stand.retriever.fences[-1].floor == 2


async def test_a_repeated_request_with_a_key_is_the_same_request(stand: Stand) -> None:
    """INVARIANT: effects happen once, also when a caller repeats a request whose answer it never saw."""
    sent = {"documents": [document(), document(id="b")]}
    key = {"Idempotency-Key": "order-7"}
    first = (await stand.http.post("/v1/documents", json=sent, headers=key)).json()["documents"]
    await eventually(lambda: len(stand.persistence.keys) == 2, "the keys are recorded")
    stand.persistence.put("a", 1, "indexed")
    second = (await stand.http.post("/v1/documents", json=sent, headers=key)).json()["documents"]
    assert [receipt["duplicate"] for receipt in (*first, *second)] == [False, False, True, True]
    assert [receipt["revision"] for receipt in first] == [receipt["revision"] for receipt in second]
    assert [receipt["status"] for receipt in second] == ["indexed", "accepted"]
    assert await stand.ingested() == 2


async def test_a_key_for_another_body_is_refused_and_nothing_is_published(stand: Stand) -> None:
    key = {"Idempotency-Key": "order-7"}
    await stand.http.post("/v1/documents", json={"documents": [document()]}, headers=key)
    await eventually(lambda: len(stand.persistence.keys) == 1, "the key is recorded")
    changed = {"documents": [document(text="other"), document(id="new")]}
    response = await stand.http.post("/v1/documents", json=changed, headers=key)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert await stand.ingested() == 1


async def test_two_requests_with_one_key_at_the_same_time_are_one(stand: Stand) -> None:
    key = {"Idempotency-Key": "order-7"}
    sent = {"documents": [document()]}
    answers = await asyncio.gather(*(stand.http.post("/v1/documents", json=sent, headers=key) for _ in range(5)))
    receipts = [answer.json()["documents"][0] for answer in answers]
    assert {receipt["revision"] for receipt in receipts} == {1}
    assert sum(not receipt["duplicate"] for receipt in receipts) <= 1
    assert await stand.ingested() == 1


async def test_a_race_for_one_key_with_different_bodies_has_one_winner(stand: Stand) -> None:
    key = {"Idempotency-Key": "order-7"}
    bodies = [{"documents": [document(text=f"version {index}")]} for index in range(5)]
    answers = await asyncio.gather(*(stand.http.post("/v1/documents", json=body, headers=key) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [202, 422, 422, 422, 422]
    assert await stand.ingested() == 1


async def test_a_full_queue_turns_callers_away_and_names_what_it_took(stand: Stand) -> None:
    await bound_ingest(stand, 3)
    sent = {"documents": [document(id=f"d{index}") for index in range(5)]}
    response = await stand.http.post("/v1/documents", json=sent, headers={"Idempotency-Key": "k"})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (503, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1
    assert len(problem["accepted"]) == 3
    await eventually(lambda: len(stand.persistence.keys) == 3, "what was accepted is recorded")
    await bound_ingest(stand, 10)
    again = await stand.http.post("/v1/documents", json=sent, headers={"Idempotency-Key": "k"})
    assert sum(receipt["duplicate"] for receipt in again.json()["documents"]) == 3
    assert await stand.ingested() == 5


async def test_a_large_document_travels_through_the_object_store(stand: Stand) -> None:
    text = "All work and no play makes a dull document. " * 450_000
    response = await stand.http.post("/v1/documents", json={"documents": [document(text=text)]})
    assert response.status_code == 202
    await eventually(lambda: stand.persistence.messages, "the message is on the queue")
    [message] = stand.persistence.messages
    assert (message.text, message.media_type) == (None, "text/plain; charset=utf-8")
    bucket = await stand.client.jetstream().object_store(subjects.UPLOADS_BUCKET)
    found = await bucket.get(message.object or "")
    assert found.data == text.encode()


async def test_a_payload_that_no_message_refers_to_is_removed(stand: Stand) -> None:
    await bound_ingest(stand, 1)
    await stand.http.post("/v1/documents", json={"documents": [document()]})
    response = await stand.http.post("/v1/documents", json={"documents": [document(text="x" * 2_000_000)]})
    assert response.status_code == 503
    bucket = await stand.client.jetstream().object_store(subjects.UPLOADS_BUCKET)
    assert (await bucket.status()).size < 100_000
