"""Dead letters, made as a service makes them and sent again as the gateway asks for it."""

from typing import Any

from contracts import subjects, topology
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.policy import Reason
from tests.integration.persistence_service import TENANT, Stand
from tests.running import eventually

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DOCUMENT = b'{"id": "d", "text": "old"}'


async def bury(
    stand: Stand,
    payload: bytes,
    sequence: int,
    *,
    tenant: str = TENANT,
    code: str = "corrupt",
    consumer: topology.Consumer = topology.PARSER,
    subject: str | None = None,
    headers: dict[str, str] | None = None,
) -> int:
    """Have a message become a dead letter as a service would, and wait until it is recorded; return its number."""
    delivery = Delivery(
        subject=subject or subjects.ingest(tenant),
        headers={subjects.HEADER_TENANT: tenant, **(headers or {})},
        stream=consumer.stream,
        consumer=consumer.name,
        sequence=sequence,
        deliveries=3,
        published_at=0.0,
        payload=payload,
    )
    writer = DeadLetters(
        stand.service.publisher, await stand.service.uploads(), max_payload_bytes=stand.client.max_payload
    )
    await writer.bury(delivery, Reason(code, "cannot be read", "Rejected", "text"))
    letter = (await stand.client.jetstream().stream_info("DEAD")).state.last_seq
    await eventually(lambda: is_listed(stand, letter, tenant), f"letter {letter} is recorded")
    return letter


async def is_listed(stand: Stand, letter: int, tenant: str = TENANT) -> bool:
    found = await stand.ask(subjects.READ_DEAD_LETTER, tenant=tenant, seq=letter)
    return found.get("seq") == letter


async def died(stand: Stand, payload: bytes = DOCUMENT, **fields: Any) -> tuple[int, int]:
    """Publish a document that the parser gives up; return its revision and the number of its letter."""
    headers = fields.pop("headers", {})
    revision = await stand.ingest_bytes(payload, headers)
    await parser_is_through(stand)
    return revision, await bury(stand, payload, revision, headers=headers, **fields)


async def parser_is_through(stand: Stand) -> None:
    """Take what waits for the parser, which does not run here."""
    parser = await stand.client.jetstream().pull_subscribe_bind("parser", stream="INGEST")
    for message in await parser.fetch(10, timeout=1):
        await message.ack_sync()
    await parser.unsubscribe()


async def replay(stand: Stand, *letters: int, tenant: str = TENANT) -> list[dict[str, Any]]:
    reply = await stand.ask(subjects.REPLAY_DEAD_LETTERS, tenant=tenant, seqs=list(letters))
    outcomes: list[dict[str, Any]] = reply["outcomes"]
    return outcomes
