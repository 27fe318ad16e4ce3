"""The headers and payloads of dead letters: what is kept, for how long, and what goes with its letter."""

from pathlib import Path

import orjson
from nats.js.errors import NotFoundError

from contracts import subjects, topology
from tests.integration.burying import DOCUMENT, bury, died, is_listed, replay
from tests.integration.persistence_service import Stand, persistence
from tests.servers import NatsServer


async def test_a_message_with_more_headers_than_a_letter_takes_still_becomes_one(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    """INVARIANT: nothing poisons the queue. A letter that cannot be written would bring its message back for ever."""
    async with persistence(nats_broker, tmp_path) as stand:
        headers = {"My-Header": "kept", **{f"Large-{number}": "x" * 30_000 for number in range(40)}}
        letter = await bury(stand, DOCUMENT, 1, headers=headers)
        kept = (await stand.ask(subjects.READ_DEAD_LETTER, seq=letter))["headers"]
        assert kept["My-Header"] == "kept"
        assert sum(map(len, kept.values())) <= 64 * 1024


async def test_a_payload_that_lies_beside_its_letter_is_sent_again_and_then_removed(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    payload = orjson.dumps({"id": "d", "text": "x" * (1024 * 1024 - 5_000)})
    async with persistence(nats_broker, tmp_path) as stand:
        _, letter = await died(stand, payload)
        found = await stand.ask(subjects.READ_DEAD_LETTER, seq=letter)
        assert found["size_bytes"] == len(payload)
        [outcome] = await replay(stand, letter)
        message = await stand.client.jetstream().get_msg("INGEST", outcome["sequence"])
        assert message.data == payload
        assert await names_of_objects(stand) == []


async def names_of_objects(stand: Stand) -> list[str]:
    try:
        return [one.name or "" for one in await (await stand.service.uploads()).list(ignore_deletes=True)]
    except NotFoundError:
        return []


async def test_letters_of_two_consumers_of_one_message_keep_a_payload_each(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    payload = orjson.dumps({"id": "d", "text": "x" * (1024 * 1024 - 5_000)})
    async with persistence(nats_broker, tmp_path) as stand:
        revision, letter = await died(stand, payload)
        other = await bury(stand, payload, revision, consumer=topology.INTAKE)
        await stand.ask(subjects.DISCARD_DEAD_LETTER, seq=letter)
        assert (await stand.ask(subjects.READ_DEAD_LETTER, seq=other))["size_bytes"] == len(payload)


async def test_an_upload_is_there_for_a_replay_and_goes_with_its_discarded_letter(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        uploads = await stand.service.uploads()
        await uploads.put("upload-1", b"a large file")
        _, letter = await died(stand, b'{"id": "d", "object": "upload-1", "filename": "a.txt"}')
        _, kept = await died(stand, b'{"id": "e", "object": "upload-2", "filename": "a.txt"}')
        [outcome] = await replay(stand, kept)
        assert (outcome["status"], outcome["code"]) == ("refused", "payload_missing")
        [outcome] = await replay(stand, letter)
        assert outcome["status"] == "replayed"
        assert await names_of_objects(stand) == ["upload-1"]
        again = await bury(stand, b'{"id": "d", "object": "upload-1", "filename": "a.txt"}', outcome["sequence"])
        await stand.status_is("d", "failed", outcome["sequence"])
        assert await stand.ask(subjects.DISCARD_DEAD_LETTER, seq=again) == {"seq": again}
        assert await names_of_objects(stand) == []
        assert (await stand.document("d"))["status"] == "failed"


async def test_an_upload_of_a_document_that_was_sent_again_survives_the_discarded_letter(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        await (await stand.service.uploads()).put("upload-1", b"a large file")
        payload = b'{"id": "d", "object": "upload-1", "filename": "a.txt"}'
        _, letter = await died(stand, payload)
        newer = await stand.ingest_bytes(payload)
        await stand.status_is("d", "accepted", newer)
        await stand.ask(subjects.DISCARD_DEAD_LETTER, seq=letter)
        assert await names_of_objects(stand) == ["upload-1"]


async def test_a_message_as_large_as_the_broker_takes_is_refused_and_not_a_broken_connection(
    nats_broker: NatsServer, tmp_path: Path
) -> None:
    async with persistence(nats_broker, tmp_path) as stand:
        filler = stand.client.max_payload - len(orjson.dumps({"id": "d", "text": ""})) - 40
        _, letter = await died(stand, orjson.dumps({"id": "d", "text": "x" * filler}))
        [outcome] = await replay(stand, letter)
        assert (outcome["status"], outcome["code"]) == ("refused", "too_large")
        assert await is_listed(stand, letter)
