"""Persistence's intake past a backlog, on a real broker and each database."""

import json
from collections import Counter

from contracts import subjects
from contracts.codec import decode
from contracts.facts import DocumentAccepted
from services.persistence.app import build_lifespan
from services.persistence.settings import PersistenceSettings
from tests.running import client_of, eventually, running_service, stored
from tests.servers import NatsServer

BACKLOG = 800


async def test_a_document_is_recorded_past_another_tenants_backlog_and_everything_once(
    nats_broker: NatsServer, each_database: PersistenceSettings
) -> None:
    """INVARIANT: no tenant holds up another one. In the order of arrival the single document would be the last."""
    settings = each_database.model_copy(
        update={"nats_url": nats_broker.url, "drain_seconds": 5, "persistence_early_look_seconds": 0.05}
    )
    async with client_of(nats_broker.url) as client:
        jetstream = client.jetstream(publish_async_max_pending=BACKLOG + 1)
        order: list[tuple[str, int]] = []

        async def accepted(message: object) -> None:
            fact = decode(DocumentAccepted, message.data)  # type: ignore[attr-defined]
            order.append((fact.tenant, fact.revision))

        await client.subscribe(subjects.DOCUMENT_ACCEPTED, cb=accepted)
        for tenant, number in [("heavy", n) for n in range(BACKLOG)] + [("single", 0)]:
            body = json.dumps({"id": f"d{number}", "text": "A word."}).encode()
            await jetstream.publish_async(subjects.ingest(tenant), body)
        await jetstream.publish_async_completed()
        async with running_service("persistence", settings, build_lifespan(settings)):
            await eventually(lambda: len(order) > BACKLOG, "everything is recorded", 60)
        place = [tenant for tenant, _ in order].index("single")
        assert place < BACKLOG * 3 // 4
        facts = [fact for fact in await stored(client, "FACTS") if fact.subject == subjects.DOCUMENT_ACCEPTED]
        revisions = Counter(decode(DocumentAccepted, fact.data).revision for fact in facts)
        assert sorted(revisions) == list(range(1, BACKLOG + 2))
        assert set(revisions.values()) == {1}
