"""Dead letters in persistence: listed, sent again, discarded, on a real broker."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import subjects, topology
from contracts.chunks import ChunksReady
from contracts.codec import encode
from shared.messaging.consuming import RawHandler
from shared.messaging.delivery import Delivery
from shared.service import Service
from tests.integration.burying import DOCUMENT, PARENT, bury, died, is_listed, replay
from tests.integration.persistence_service import TENANT, Stand, persistence
from tests.running import client_of, eventually, stored
from tests.servers import NatsServer


async def numbers(stand: Stand, **query: Any) -> list[int]:
    page = await stand.ask(subjects.READ_DEAD_LETTERS, **query)
    return [item["seq"] for item in page["items"]]


async def test_letters_are_listed_newest_first_by_page_and_filter_for_their_tenant_alone(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: a tenant sees only its own."""
    async with persistence(nats_broker, tmp_path) as stand:
        one = await bury(stand, b'{"id": "a"}', 1)
        two = await bury(stand, b'{"id": "b"}', 2, code="too_large")
        other = await bury(stand, b'{"id": "c"}', 3, tenant="other")
        three = await bury(stand, b"{}", 4, consumer=topology.INTAKE)
        assert await numbers(stand) == [three, two, one]
        assert await numbers(stand, oldest_first=True) == [one, two, three]
        assert await numbers(stand, code="too_large") == [two]
        assert await numbers(stand, consumer="persistence-intake") == [three]
        page = await stand.ask(subjects.READ_DEAD_LETTERS, limit=2)
        assert await numbers(stand, limit=2, cursor=page["next_cursor"]) == [one]
        moment = page["items"][1]["created_at"]
        assert await numbers(stand, since=moment) == [three, two]
        assert await numbers(stand, until=moment) == [one]
        assert await numbers(stand, tenant="other") == [other]
        assert (await stand.ask(subjects.READ_DEAD_LETTERS, cursor="!"))["code"] == "invalid_cursor"

        assert (await stand.ask(subjects.READ_DEAD_LETTER, seq=other))["code"] == "dead_letter_not_found"
        assert [outcome["status"] for outcome in await replay(stand, other)] == ["missing"]
        assert (await stand.ask(subjects.DISCARD_DEAD_LETTER, seq=other))["code"] == "dead_letter_not_found"
        assert await is_listed(stand, other, "other")


async def test_a_letter_shows_everything_about_its_message(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        headers = {"traceparent": PARENT, "Nats-Msg-Id": "mine", "My-Header": "kept"}
        revision, letter = await died(stand, headers=headers)
        found = await stand.ask(subjects.READ_DEAD_LETTER, seq=letter)
        assert found["headers"] == {**headers, subjects.HEADER_TENANT: TENANT}
        assert found["trace_id"] == PARENT[3:35]
        expected = {
            "consumer": "parser",
            "code": "corrupt",
            "reason": "cannot be read",
            "field": "text",
            "error": "Rejected",
            "subject": subjects.ingest(TENANT),
            "stream": "INGEST",
            "stream_sequence": revision,
            "deliveries": 3,
            "document_id": "d",
            "revision": revision,
            "size_bytes": len(DOCUMENT),
        }
        assert {name: found[name] for name in expected} == expected


async def test_a_document_is_indexed_by_a_replay_as_a_new_revision_in_a_new_trace(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        headers = {"traceparent": PARENT, "Nats-Msg-Id": "mine", "My-Header": "kept"}
        revision, letter = await died(stand, headers=headers)
        await stand.status_is("d", "failed", revision)
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["document_id"]) == ("replayed", "d")
        again = outcome["revision"]
        assert again == outcome["sequence"] > revision
        await stand.status_is("d", "accepted", again)
        message = await stand.client.jetstream().get_msg("INGEST", again)
        assert message.data == DOCUMENT
        sent = message.headers or {}
        assert (sent["My-Header"], sent["Rag-Replay-Of"]) == ("kept", str(letter))
        assert sent["Nats-Msg-Id"] != "mine"
        assert sent["traceparent"][3:35] == outcome["trace_id"] != PARENT[3:35]
        await stand.parsed("d", again, 1)
        await stand.batch_indexed("d", again, 0)
        await stand.status_is("d", "indexed", again)
        assert await numbers(stand) == []
        assert await stored(stand.client, "DEAD") == []
        assert (await replay(stand, letter))[0]["code"] == "dead_letter_not_found"


async def test_replaying_a_letter_twice_at_once_sends_its_message_once(nats_broker: NatsServer, tmp_path: Path) -> None:
    """INVARIANT: effects happen once."""
    async with persistence(nats_broker, tmp_path) as stand:
        revision, letter = await died(stand)
        outcomes = await asyncio.gather(*(replay(stand, letter) for _ in range(4)))
        assert sorted(outcome["status"] for [outcome] in outcomes) == ["missing", "missing", "missing", "replayed"]
        assert await last_of_ingest(stand) == revision + 1


async def last_of_ingest(stand: Stand) -> int:
    return (await stand.client.jetstream().stream_info("INGEST")).state.last_seq


async def test_two_replicas_that_replay_a_letter_at_once_send_its_message_once(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: effects happen once. Here the replicas share a database file, and each passed its checks before the
    other had sent anything.
    """
    waiting = Meeting(2)
    async with (
        persistence(nats_broker, tmp_path, before_sending(waiting.join)) as stand,
        persistence(nats_broker, tmp_path, before_sending(waiting.join)),
    ):
        revision, letter = await died(stand)
        outcomes = await asyncio.gather(*(replay(stand, letter) for _ in range(8)))
        assert waiting.complete
        assert {outcome["sequence"] for [outcome] in outcomes if outcome["status"] == "replayed"} == {revision + 1}
        assert await last_of_ingest(stand) == revision + 1


class Meeting:
    """Lets callers go on once so many have come, or after a while."""

    def __init__(self, parties: int) -> None:
        self._barrier = asyncio.Barrier(parties)
        self.complete = False

    async def join(self) -> None:
        if not self.complete:
            await asyncio.wait_for(self._barrier.wait(), 5)
            self.complete = True


def before_sending(act: Callable[[], Awaitable[None]]) -> Callable[[Service], None]:
    """Have something happen at the last moment before a letter's message is published."""

    def prepare(service: Service) -> None:
        publish_bytes = service.publisher.publish_bytes

        async def publish(subject: str, payload: bytes, *, message_id: str, **arguments: Any) -> Any:
            if message_id.startswith("replay:"):
                await act()
            return await publish_bytes(subject, payload, message_id=message_id, **arguments)

        service.publisher.publish_bytes = publish  # type: ignore[method-assign]

    return prepare


@pytest.mark.parametrize(
    "later",
    [{"text": "new"}, {"text": "x" * 1_000_000}, {"op": "delete"}, {"text": 5}],
    ids=["update", "large update", "delete", "broken update"],
)
async def test_a_letter_never_overwrites_a_later_write(
    nats_broker: NatsServer, tmp_path: Path, later: dict[str, Any]
) -> None:
    """INVARIANT: the later write wins. Its replay would be the latest message of all."""
    gate = asyncio.Event()
    async with persistence(nats_broker, tmp_path, holding_intake(gate, after=1)) as stand:
        revision, letter = await died(stand)
        await stand.status_is("d", "failed", revision)
        newer = await stand.ingest(id="d", **later)
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["code"]) == ("refused", "newer_revision")
        assert f"revision {newer}" in outcome["message"]
        assert await numbers(stand) == [letter]
        assert await last_of_ingest(stand) == newer
        gate.set()


def holding_intake(gate: asyncio.Event, *, after: int) -> Callable[[Service], None]:
    """Have intake wait for the gate from its second message on, so that what comes then is not recorded."""

    def prepare(service: Service) -> None:
        consume_raw = service.consume_raw
        seen: list[int] = []

        def held(consumer: topology.Consumer, handler: RawHandler, *, workers: int) -> None:
            async def wait_first(delivery: Delivery) -> None:
                seen.append(delivery.sequence)
                if consumer is topology.INTAKE and delivery.sequence > after:
                    await gate.wait()
                await handler(delivery)

            consume_raw(consumer, wait_first, workers=workers)

        service.consume_raw = held  # type: ignore[method-assign]

    return prepare


async def test_a_write_in_the_moment_before_the_message_is_sent_wins_too(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: the later write wins. Checking first and publishing after would leave a gap between the two."""
    written: list[int] = []

    async def write() -> None:
        if not written:
            async with client_of(nats_broker.url) as other:
                ack = await other.jetstream().publish(subjects.ingest(TENANT), b'{"id": "d", "text": "new"}')
                written.append(ack.seq)

    async with persistence(nats_broker, tmp_path, before_sending(write)) as stand:
        _, letter = await died(stand)
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["code"]) == ("refused", "newer_revision")
        assert await last_of_ingest(stand) == written[0]


async def test_other_documents_that_come_in_all_the_time_do_not_hold_up_a_replay(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    written: list[int] = []

    async def write() -> None:
        if len(written) < 5:
            async with client_of(nats_broker.url) as other:
                payload = f'{{"id": "other-{len(written)}", "text": "t"}}'.encode()
                written.append((await other.jetstream().publish(subjects.ingest(TENANT), payload)).seq)

    async with persistence(nats_broker, tmp_path, before_sending(write)) as stand:
        _, letter = await died(stand)
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["sequence"]) == ("replayed", written[-1] + 1)


async def test_letters_of_two_revisions_are_replayed_in_their_latest_one_only(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        _, first = await died(stand)
        _, second = await died(stand, b'{"id": "d", "text": "newer"}')
        outcomes = await replay(stand, first, second)
        assert [outcome["status"] for outcome in outcomes] == ["refused", "replayed"]
        message = await stand.client.jetstream().get_msg("INGEST", outcomes[1]["sequence"])
        assert b"newer" in (message.data or b"")


def batch(revision: int) -> bytes:
    ready = ChunksReady.model_validate(
        {
            "tenant": TENANT,
            "document_id": "d",
            "revision": revision,
            "collection": "default",
            "metadata": {},
            "batch": 0,
            "chunks": [{"ordinal": 0, "chunk_id": "c", "text": "t", "char_start": 0, "char_end": 1}],
        }
    )
    return encode(ready)


async def test_a_batch_goes_on_with_its_own_revision(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision = await stand.ingest_bytes(DOCUMENT)
        await stand.parsed("d", revision, 1)
        payload = batch(revision)
        letter = await bury(stand, payload, 1, consumer=topology.EMBEDDER, subject=subjects.CHUNKS_READY)
        await stand.status_is("d", "failed", revision)
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["stream"], outcome["revision"]) == ("replayed", "CHUNKS", revision)
        message = await stand.client.jetstream().get_msg("CHUNKS", outcome["sequence"])
        assert (message.data, (message.headers or {})["Rag-Tenant"]) == (payload, TENANT)
        await stand.batch_indexed("d", revision, 0)
        await stand.status_is("d", "indexed", revision)


async def test_a_question_is_not_asked_again(nats_broker: NatsServer, tmp_path: Path) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        letter = await bury(stand, b"{}", 1, consumer=topology.AGENT, subject=subjects.QUERIES_ASK)
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["code"]) == ("refused", "not_replayable")


async def test_letters_that_a_full_stream_has_let_go_of_leave_the_list_too(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path, persistence_prune_interval_seconds=0.1) as stand:
        await bury(stand, b'{"id": "a"}', 1)
        two = await bury(stand, b'{"id": "b"}', 2)
        await stand.client.jetstream().purge_stream("DEAD", seq=two)

        async def one_is_left() -> bool:
            return await numbers(stand) == [two]

        await eventually(one_is_left, "the letter that the stream still has is listed alone")


async def test_a_discarded_letter_is_gone_from_the_list_and_the_stream_and_may_be_discarded_again(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        revision, letter = await died(stand)
        # As after a crash half-way.
        await stand.client.jetstream().delete_msg("DEAD", letter)
        assert await stand.ask(subjects.DISCARD_DEAD_LETTER, seq=letter) == {"seq": letter}
        assert (await stand.ask(subjects.DISCARD_DEAD_LETTER, seq=letter))["code"] == "dead_letter_not_found"
        assert await numbers(stand) == []
        assert await stored(stand.client, "DEAD") == []
        assert (await stand.status_is("d", "failed", revision))["error"]["code"] == "corrupt"
