"""What each user of the broker may do, tried on a real server: every subject of the platform by every user."""

import asyncio
from collections.abc import Iterator

import pytest

from contracts import subjects
from contracts.permissions import DEFAULT_INBOX, inbox_prefix, permissions_of, producer_user, tool_user
from contracts.topology import AGENT_STEPS, CONSUMERS, STREAMS, UPLOADS
from contracts.traffic import SERVICES, TRAFFIC
from shared.messaging.broker import settle
from shared.messaging.provisioning import drift, provision
from tests.broker_stand import TENANT, TOOL, USERS, GuardedBroker, guarded_broker
from tests.subject_matching import allowed

LIMITED = sorted(set(USERS) - {"platform"})
# No request of the broker's API, so that one which is allowed changes nothing.
NO_REQUEST = b"no json"
STREAM_NAMES = (*(stream.name for stream in STREAMS), f"OBJ_{UPLOADS.name}", f"KV_{AGENT_STEPS.name}", "OTHER")
STREAM_CALLS = (
    *("STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.GET"),
    *("STREAM.MSG.DELETE", "STREAM.SNAPSHOT", "STREAM.RESTORE", "DIRECT.GET", "CONSUMER.NAMES", "CONSUMER.LIST"),
    "CONSUMER.CREATE",
)
CONSUMER_CALLS = ("INFO", "CREATE", "DURABLE.CREATE", "DELETE", "MSG.NEXT", "PAUSE")
OTHER_CALLS = ("INFO", "STREAM.NAMES", "STREAM.LIST", "ACCOUNT.PURGE.x")


def named(template: str) -> str:
    """Return a subject of a template, with the tool and the tenant that have users."""
    values = {"{tool}": TOOL, "{tenant}": TENANT}
    return ".".join(values.get(token, "x1" if token[0] == "{" else token) for token in template.split("."))


def subjects_to_publish() -> list[str]:
    """Return at least one subject of everything that means something to the platform or to the broker."""
    own = [named(item.subject) for item in TRAFFIC]
    more = ["rag.v1.ingest.default", "rag.v1.tools.other", "rag.v1.facts.document.x1", "rag.v1.unknown", "elsewhere"]
    dead = [subjects.dead(consumer.name) for consumer in CONSUMERS]
    inboxes = [f"{prefix}.x1" for prefix in (DEFAULT_INBOX, *(inbox_prefix(user) for user in USERS))]
    stored = [f"$KV.{AGENT_STEPS.name}.x1", f"$O.{UPLOADS.name}.C.x1", f"$O.{UPLOADS.name}.M.x1"]
    broker = ["$SRV.INFO", "$SRV.PING", "$SYS.REQ.SERVER.PING", "$JS.FC.INGEST.parser.x1"]
    return sorted({*own, *more, *dead, *inboxes, *stored, *broker, *calls_of_jetstream()})


def calls_of_jetstream() -> list[str]:
    streams = [f"$JS.API.{call}.{name}" for call in STREAM_CALLS for name in STREAM_NAMES]
    consumers = [f"$JS.API.CONSUMER.{call}.{each.stream}.{each.name}" for call in CONSUMER_CALLS for each in CONSUMERS]
    acks = [f"$JS.ACK.{each.stream}.{each.name}.1.1.1.1.1" for each in CONSUMERS]
    return [*streams, *consumers, *acks, *(f"$JS.API.{call}" for call in OTHER_CALLS)]


def subjects_to_subscribe() -> list[str]:
    """Return every subject of the platform, the wildcards over them, and what the broker says."""
    own = [named(item.subject) for item in TRAFFIC]
    wide = [">", "rag.>", "rag.v1.>", subjects.INGEST_ALL, subjects.FACTS_ALL, subjects.ANSWERS_ALL, subjects.DEAD_ALL]
    reads = ["rag.v1.told.*", subjects.LISTENING_ALL, "rag.v1.tools.*", "rag.v1.read.*", "rag.v1.index.*"]
    inboxes = [f"{prefix}.>" for prefix in (DEFAULT_INBOX, *(inbox_prefix(user) for user in USERS))]
    broker = ["$SRV.>", "$SRV.INFO", "$JS.>", "$JS.EVENT.ADVISORY.>", "$SYS.>", "$O.>", "$KV.>", "$JS.ACK.>"]
    return sorted({*own, *wide, *reads, *inboxes, *broker, "*.>"})


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    with guarded_broker(tmp_path_factory.mktemp("broker")) as running:
        asyncio.run(declare(running))
        yield running


async def declare(broker: GuardedBroker) -> None:
    """Make the topology as the user whose only work that is."""
    async with broker.connected("provisioner") as (client, violations):
        await provision(client.jetstream(), replicas=1, first_revision=1)
        assert await drift(client.jetstream(), replicas=1) == []
        assert violations.told == []


@pytest.mark.parametrize("user", LIMITED)
async def test_a_user_publishes_what_is_declared_and_nothing_else(broker: GuardedBroker, user: str) -> None:
    """INVARIANT: a tenant sees only its own. Any permission that is wider than its declaration would show here."""
    tried = subjects_to_publish()
    async with broker.connected(user) as (client, violations):
        for subject in tried:
            await client.publish(subject, NO_REQUEST)
        await settle(client)
        refused = violations.of("publish")
    forbidden = {subject.lower() for subject in tried if not allowed(permissions_of(user).publish, subject)}
    assert refused == forbidden
    assert len(forbidden) > len(tried) / 2


@pytest.mark.parametrize("user", LIMITED)
async def test_a_user_subscribes_to_what_is_declared_and_nothing_else(broker: GuardedBroker, user: str) -> None:
    """INVARIANT: a tenant sees only its own. Any permission that is wider than its declaration would show here."""
    tried = subjects_to_subscribe()
    async with broker.connected(user) as (client, violations):
        for subject in tried:
            await client.subscribe(subject)
        await settle(client)
        refused = violations.of("subscription")
    forbidden = {subject.lower() for subject in tried if not allowed(permissions_of(user).subscribe, subject)}
    assert refused == forbidden
    assert f"{DEFAULT_INBOX}.>".lower() in refused, "which whoever has no credentials may read"


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_compares_the_topology(broker: GuardedBroker, user: str) -> None:
    async with broker.connected(user) as (client, violations):
        assert await drift(client.jetstream(), replicas=1) == []
    assert violations.told == []


async def test_a_producer_of_a_tenant_learns_that_its_document_is_stored(broker: GuardedBroker) -> None:
    async with broker.connected(producer_user(TENANT)) as (client, violations):
        ack = await client.jetstream().publish(subjects.ingest(TENANT), b'{"id": "a", "text": "x"}')
    assert (ack.stream, violations.told) == ("INGEST", [])


async def test_nobody_reads_the_replies_of_another_user(broker: GuardedBroker) -> None:
    async with (
        broker.connected("gateway") as (gateway, _),
        broker.connected("persistence") as (persistence, _),
        broker.connected("parser") as (parser, violations),
    ):
        overheard = await parser.subscribe(f"{inbox_prefix('gateway')}.>")
        asked = await persistence.subscribe(subjects.READ_TRACES)
        await asyncio.gather(settle(parser), settle(persistence))
        answer = asyncio.create_task(gateway.request(subjects.READ_TRACES, b"{}", timeout=5))
        request = await asked.next_msg(5)
        assert request.reply.startswith("_INBOX_gateway.")
        await request.respond(b"the reply")
        assert (await answer).data == b"the reply"
        await settle(parser)
        assert overheard.pending_msgs == 0
        assert violations.of("subscription") == {"_inbox_gateway.>"}


async def test_payloads_travel_from_gateway_to_parser(broker: GuardedBroker) -> None:
    content = b"x" * 300_000
    async with broker.connected("gateway") as (gateway, refused), broker.connected("parser") as (parser, also_refused):
        written = await gateway.jetstream().object_store(UPLOADS.name)
        await written.put("one", b"what is replaced")
        await written.put("one", content)
        read = await parser.jetstream().object_store(UPLOADS.name)
        assert (await read.get("one")).data == content
        await read.delete("one")
    assert (refused.told, also_refused.told) == ([], [])


async def test_an_agent_keeps_the_steps_of_a_question(broker: GuardedBroker) -> None:
    async with broker.connected("agent") as (client, violations):
        bucket = await client.jetstream().key_value(AGENT_STEPS.name)
        revision = await bucket.create("question", b"1")
        await bucket.update("question", b"2", last=revision)
        assert (await bucket.get("question")).value == b"2"
        await bucket.purge("question")
    assert violations.told == []


async def test_a_tool_replies_once_to_each_call_and_speaks_to_nobody_else(broker: GuardedBroker) -> None:
    async with broker.connected(tool_user(TOOL)) as (tool, violations), broker.connected("agent") as (agent, _):
        calls = await tool.subscribe(subjects.tool(TOOL))
        await settle(tool)
        call = asyncio.create_task(agent.request(subjects.tool(TOOL), b"{}", timeout=5))
        request = await calls.next_msg(5)
        await request.respond(b"first")
        await request.respond(b"second")
        await tool.publish(f"{request.reply}x", b"a reply to another request")
        await settle(tool)
        assert (await call).data == b"first"
        assert violations.of("publish") == {request.reply.lower(), f"{request.reply}x".lower()}
