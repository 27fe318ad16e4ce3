"""Snapshots of streams, as `nats stream backup` takes them: what waited goes on where it stood, under its numbers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from contracts import subjects
from contracts.topology import EMBEDDER, INTAKE, PARSER, STREAMS, UPLOADS, Storage
from shared.messaging.provisioning import drift, provision
from tests.servers import nats_server

ON_DISK = [*(stream.name for stream in STREAMS if stream.storage is Storage.FILE), f"OBJ_{UPLOADS.name}"]
FIRST = 1_000_000
SECONDS = 10.0


class Refused(Exception):
    """What the server says when it does not."""


@asynccontextmanager
async def fresh_broker() -> AsyncIterator[Client]:
    with nats_server() as server:
        client = await nats.connect(server.url)
        try:
            yield client
        finally:
            await client.close()


async def asked(client: Client, subject: str, **request: Any) -> dict[str, Any]:
    reply = json.loads((await client.request(subject, json.dumps(request).encode(), timeout=SECONDS)).data)
    return taken(reply)


def taken(reply: dict[str, Any]) -> dict[str, Any]:
    if "error" in reply:
        raise Refused(reply["error"]["description"])
    return reply


async def snapshot(client: Client, stream: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return a stream's configuration and state, and the chunks of everything that it holds, consumers included."""
    inbox = client.new_inbox()
    arriving = await client.subscribe(inbox)
    about = await asked(client, f"$JS.API.STREAM.SNAPSHOT.{stream}", deliver_subject=inbox, no_consumers=False)
    chunks: list[bytes] = []
    while True:
        chunk = await arriving.next_msg(SECONDS)
        if not chunk.data:
            await arriving.unsubscribe()
            return {"config": about["config"], "state": about["state"]}, chunks
        chunks.append(chunk.data)
        # The server sends no more than a window that was not acknowledged.
        if chunk.reply:
            await chunk.respond(b"")


async def restore(client: Client, stream: str, about: dict[str, Any], chunks: list[bytes]) -> dict[str, Any]:
    begun = await asked(client, f"$JS.API.STREAM.RESTORE.{stream}", **about)
    for chunk in chunks:
        await client.request(begun["deliver_subject"], chunk, timeout=SECONDS)
    ended = await client.request(begun["deliver_subject"], b"", timeout=SECONDS)
    return taken(json.loads(ended.data))


async def pulled(js: JetStreamContext, consumer: str, stream: str, number: int) -> list[int]:
    """Take messages for good; return their sequences."""
    subscription = await js.pull_subscribe_bind(consumer, stream)
    messages = await subscription.fetch(number, timeout=SECONDS)
    await asyncio.gather(*(message.ack_sync() for message in messages))
    return [message.metadata.sequence.stream for message in messages]


async def test_what_waits_in_the_streams_goes_on_after_a_restore_into_an_empty_broker() -> None:
    """INVARIANT: accepted is durable. Sequences go on, so revisions keep their order; no work comes twice."""
    async with fresh_broker() as client:
        js = client.jetstream()
        await provision(js, replicas=1, first_revision=FIRST)
        for number in range(5):
            await js.publish(subjects.ingest("acme"), json.dumps({"id": f"d{number}", "text": "x"}).encode())
        await js.publish(subjects.CHUNKS_READY, b"a batch")
        await (await js.object_store(UPLOADS.name)).put("letter", b"a large text" * 100_000)
        # Intake is ahead of the parser, as on a machine that is busy.
        await pulled(js, INTAKE.name, INTAKE.stream, 4)
        assert await pulled(js, PARSER.name, PARSER.stream, 2) == [FIRST, FIRST + 1]
        saved = {name: await snapshot(client, name) for name in ON_DISK}

    async with fresh_broker() as client:
        js = client.jetstream()
        for name, (about, chunks) in saved.items():
            await restore(client, name, about, chunks)
        await provision(js, replicas=1)
        assert await drift(js, replicas=1) == []
        assert await pulled(js, PARSER.name, PARSER.stream, 10) == [FIRST + 2, FIRST + 3, FIRST + 4]
        assert await pulled(js, INTAKE.name, INTAKE.stream, 10) == [FIRST + 4]
        assert len(await pulled(js, EMBEDDER.name, EMBEDDER.stream, 10)) == 1
        stored = await (await js.object_store(UPLOADS.name)).get("letter")
        assert stored.data == b"a large text" * 100_000
        ack = await js.publish(subjects.ingest("acme"), b'{"id":"new","text":"x"}')
        assert ack.seq == FIRST + 5


async def test_a_snapshot_is_not_restored_over_a_stream() -> None:
    async with fresh_broker() as client:
        await provision(client.jetstream(), replicas=1)
        about, _ = await snapshot(client, "INGEST")
        with pytest.raises(Refused, match="already in use"):
            await asked(client, "$JS.API.STREAM.RESTORE.INGEST", **about)
