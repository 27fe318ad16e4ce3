"""One provisioner applies the topology; services refuse a server that differs from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from contracts import subjects
from contracts.topology import AGENT, AGENT_STEPS, CONSUMERS, STREAMS, UPLOADS
from shared.messaging.broker import settle
from shared.messaging.provisioning import drift, provision, renew_ingest
from shared.service import Service, service_lifespan
from shared.settings import PlatformSettings
from tests.running import client_of, eventually
from tests.servers import NatsServer


async def test_provisioning_creates_everything_once_and_then_changes_nothing(bare_nats: NatsServer) -> None:
    async with client_of(bare_nats.url) as client:
        jetstream = client.jetstream()
        assert len(await drift(jetstream, replicas=1)) == len(STREAMS) + 2
        created = await provision(jetstream, replicas=1)
        assert len(created) == len(STREAMS) + len(CONSUMERS) + 2
        assert await drift(jetstream, replicas=1) == []
        assert await provision(jetstream, replicas=1) == []


async def test_provisioning_keeps_messages_and_mends_what_differs(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        await jetstream.publish("rag.v1.ingest.default", b"{}")
        config = (await jetstream.stream_info("INGEST")).config
        config.max_msgs = 5
        await jetstream.update_stream(config=config)
        assert await drift(jetstream, replicas=1) == ["stream INGEST: max_msgs is 5, declared -1"]
        await provision(jetstream, replicas=1)
        assert await drift(jetstream, replicas=1) == []
        assert (await jetstream.stream_info("INGEST")).state.messages == 1


async def test_answers_of_an_earlier_release_are_repeated_from_then_on(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        config = (await jetstream.stream_info("ANSWERS")).config
        declared, config.republish = config.republish, None
        await jetstream.update_stream(config=config)
        (difference,) = await drift(jetstream, replicas=1)
        assert difference.startswith("stream ANSWERS: republish is None, declared rag.v1.answers.* as rag.v1.told.")
        assert await provision(jetstream, replicas=1) == [f"updated: {difference}"]
        assert (await jetstream.stream_info("ANSWERS")).config.republish == declared
        told = await client.subscribe("rag.v1.told.*")
        await settle(client)
        first = await jetstream.publish("rag.v1.answers.q1", b"{}")
        await jetstream.publish("rag.v1.answers.q2", b"{}")
        second = await jetstream.publish("rag.v1.answers.q1", b"{}")
        places = [(await told.next_msg(timeout=5)).headers or {} for _ in range(3)]
        assert [(one["Nats-Sequence"], one["Nats-Last-Sequence"]) for one in places][::2] == [
            (str(first.seq), "0"),
            (str(second.seq), str(first.seq)),
        ]


async def test_a_consumer_of_an_earlier_release_gets_more_subjects_and_loses_nothing(nats_broker: NatsServer) -> None:
    """INVARIANT: accepted is durable. An upgrade adds facts to what persistence reads while others are on their way."""
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        config = (await jetstream.consumer_info("FACTS", "persistence")).config
        config.filter_subjects = [subjects.DOCUMENT_PARSED, subjects.CHUNKS_INDEXED]
        await jetstream.add_consumer("FACTS", config=config)
        for number in range(4):
            await jetstream.publish(subjects.DOCUMENT_PARSED, f"old {number}".encode())
        subscription = await jetstream.pull_subscribe_bind("persistence", stream="FACTS")
        done, given_back = await subscription.fetch(2, timeout=5)
        await done.ack_sync()
        await jetstream.publish(subjects.QUERY_ANSWERED, b"before")
        (line,) = await provision(jetstream, replicas=1)
        assert line.startswith("updated: consumer persistence: filters is")
        assert await drift(jetstream, replicas=1) == []
        await jetstream.publish(subjects.QUERY_ANSWERED, b"after")
        await given_back.nak()
        found: set[bytes] = set()

        async def all_came() -> bool:
            with suppress(TimeoutError):
                for message in await subscription.fetch(10, timeout=0.5):
                    found.add(message.data)
                    await message.ack()
            return {b"old 1", b"old 2", b"old 3", b"after"} <= found

        await eventually(all_came, "what waited, what was given back and what is new has come")


async def test_a_consumer_of_an_earlier_release_hands_out_as_much_as_is_declared_now(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        config = (await jetstream.consumer_info(AGENT.stream, AGENT.name)).config
        config.max_ack_pending = 2
        await jetstream.add_consumer(AGENT.stream, config=config)
        for number in range(5):
            await jetstream.publish(subjects.QUERIES_ASK, str(number).encode())
        subscription = await jetstream.pull_subscribe_bind(AGENT.name, stream=AGENT.stream)
        held = await subscription.fetch(2, timeout=5)
        with pytest.raises(TimeoutError):
            await subscription.fetch(1, timeout=0.5)
        difference = f"consumer agent: max_ack_pending is 2, declared {AGENT.max_ack_pending}"
        assert await provision(jetstream, replicas=1) == [f"updated: {difference}"]
        held += await subscription.fetch(3, timeout=5)
        assert [message.data for message in held] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_bucket_of_an_earlier_release_gets_the_declared_limits_and_keeps_what_it_holds(
    nats_broker: NatsServer,
) -> None:
    """A dead letter's payload must be there as long as its letter, also where the bucket was made for less."""
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        uploads = await jetstream.object_store(UPLOADS.name)
        await uploads.put("kept", b"content")
        config = (await jetstream.stream_info("OBJ_uploads")).config
        config.max_age = 7 * 24 * 3600
        await jetstream.update_stream(config=config)
        difference = f"object store uploads: max_age is 604800.0, declared {UPLOADS.max_age_seconds}"
        assert await drift(jetstream, replicas=1) == [difference]
        assert await provision(jetstream, replicas=1) == [f"updated: {difference}"]
        assert await drift(jetstream, replicas=1) == []
        assert (await uploads.get("kept")).data == b"content"


async def test_a_key_value_bucket_is_made_in_memory_and_mended(nats_broker: NatsServer) -> None:
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream()
        steps = await jetstream.key_value(AGENT_STEPS.name)
        await steps.put("q1", b"step")
        config = (await jetstream.stream_info("KV_agent-steps")).config
        assert config.storage == "memory"
        config.max_age = 200.0
        await jetstream.update_stream(config=config)
        difference = f"key-value bucket agent-steps: max_age is 200.0, declared {AGENT_STEPS.max_age_seconds}"
        assert await drift(jetstream, replicas=1) == [difference]
        assert await provision(jetstream, replicas=1) == [f"updated: {difference}"]
        assert await drift(jetstream, replicas=1) == []
        assert (await steps.get("q1")).value == b"step"


async def test_a_new_ingest_begins_above_everything_that_was_in_one_before(bare_nats: NatsServer) -> None:
    """INVARIANT: the later write wins. Where revisions began anew every later write would be taken for an old one."""
    async with client_of(bare_nats.url) as client:
        jetstream = client.jetstream()
        await provision(jetstream, replicas=1)
        before = [(await jetstream.publish("rag.v1.ingest.default", b"{}")).seq for _ in range(500)]
        await jetstream.delete_stream("INGEST")
        await provision(jetstream, replicas=1)
        assert (await jetstream.publish("rag.v1.ingest.default", b"{}")).seq > before[-1]
        assert before[-1] < 2**53, "some JSON readers round larger numbers"


async def test_the_numbering_outlives_crashes_and_updates_of_an_empty_stream(bare_nats: NatsServer) -> None:
    async with client_of(bare_nats.url) as client:
        jetstream = client.jetstream()
        await provision(jetstream, replicas=1, first_revision=5_000)
        config = (await jetstream.stream_info("INGEST")).config
        config.max_msgs = 5
        await jetstream.update_stream(config=config)
        await provision(jetstream, replicas=1)
    bare_nats.kill()
    bare_nats.start()
    async with client_of(bare_nats.url) as client:
        jetstream = client.jetstream()
        assert (await jetstream.stream_info("INGEST")).config.first_seq == 5_000
        assert (await jetstream.publish("rag.v1.ingest.default", b"{}")).seq == 5_000


async def test_ingest_is_renewed_above_the_clock_and_above_its_own_end(bare_nats: NatsServer) -> None:
    async with client_of(bare_nats.url) as client:
        jetstream = client.jetstream()
        await provision(jetstream, replicas=1, first_revision=7)
        await jetstream.publish("rag.v1.ingest.default", b"{}")
        changes = await renew_ingest(jetstream, replicas=1)
        assert changes[0] == "stream INGEST: removed, with 1 messages"
        assert await drift(jetstream, replicas=1) == []
        assert (await jetstream.publish("rag.v1.ingest.default", b"{}")).seq > 1_700_000_000_000_000

        await jetstream.delete_stream("INGEST")
        far = 2**52
        await provision(jetstream, replicas=1, first_revision=far)
        await renew_ingest(jetstream, replicas=1)
        assert (await jetstream.publish("rag.v1.ingest.default", b"{}")).seq >= far


def test_a_payload_outlives_its_letter() -> None:
    """INVARIANT: nothing lost. A letter whose upload went before it could not be sent again."""
    dead = next(stream for stream in STREAMS if stream.name == "DEAD")
    assert UPLOADS.max_age_seconds > dead.max_age_seconds


async def test_a_service_is_not_ready_until_the_topology_is_as_declared(bare_nats: NatsServer) -> None:
    """INVARIANT: ready means consuming. A service that starts on a strange topology would bind to wrong consumers."""

    @asynccontextmanager
    async def nothing(_service: Service) -> AsyncIterator[None]:
        yield

    service = Service("parser", PlatformSettings(nats_url=bare_nats.url))
    async with service_lifespan(service, nothing)(service_app), client_of(bare_nats.url) as client:
        await eventually(lambda: "missing" in (service.health.waiting_for or ""), "it says what is missing")
        assert not (await service.health.report()).ready
        await provision(client.jetstream(), replicas=1)
        await eventually(lambda: service.health.waiting_for is None, "it becomes ready by itself")
        assert (await service.health.report()).ready


async def service_app(*_arguments: object) -> None:
    await asyncio.Event().wait()
