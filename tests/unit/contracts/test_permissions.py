"""Whether the table of traffic is complete, and what must never follow from it."""

import json

import pytest

from contracts import subjects
from contracts.broker_users import password_variable, user_entry, users_file
from contracts.permissions import Permissions, anonymous, fixed_users, permissions_of, producer_user, tool_user
from contracts.topology import CONSUMERS
from contracts.traffic import CONSUMED_BY, SERVICES, TRAFFIC
from tests.subject_matching import allowed, covers

ALL = {"anonymous": anonymous(), **{name: permissions_of(name) for name in (*fixed_users(), "producer-a", "tool-a")}}


def subjects_declared() -> list[str]:
    """Return every subject and template that `contracts/subjects.py` has, without what only filters others."""
    found = [value for name, value in vars(subjects).items() if name[0].isupper() and isinstance(value, str)]
    own = [value for value in found if value.startswith(f"{subjects.PREFIX}.")]
    return sorted({value for value in own if value[-1] not in "*>." and "{{" not in value})


@pytest.mark.parametrize("subject", subjects_declared())
def test_every_subject_says_who_is_at_its_ends(subject: str) -> None:
    if subject not in {item.subject for item in TRAFFIC}:
        raise AssertionError(
            f"{subject} is declared in contracts/subjects.py, but the broker lets nobody use it: add it to TRAFFIC in "
            "contracts/traffic.py with who sends, hears or answers it, run `make contracts`, and give the new "
            "deploy/nats/users.conf to the broker before the release that uses it"
        )


def test_traffic_names_every_subject_once_and_services_only() -> None:
    names = [item.subject for item in TRAFFIC]
    assert len(names) == len(set(names))
    assert set(names) == set(subjects_declared())
    assert {who for item in TRAFFIC for who in (*item.sends, *item.hears, *item.answers)} <= set(SERVICES)


def test_every_durable_consumer_belongs_to_a_service() -> None:
    missing = [consumer.name for consumer in CONSUMERS if consumer not in CONSUMED_BY]
    assert not missing, f"say in CONSUMED_BY of contracts/traffic.py which service works on what {missing} bring"


def who(kind: str, subject: str) -> set[str]:
    """Return the users that may publish on, or subscribe to, a subject."""
    return {name for name, permissions in ALL.items() if allowed(getattr(permissions, kind), subject)}


@pytest.mark.parametrize(
    ("subject", "users"),
    [
        ("rag.v1.ingest.a", {"producer-a", "gateway", "persistence"}),
        ("rag.v1.ingest.default", {"anonymous", "gateway", "persistence"}),
        (subjects.DOCUMENT_INDEXED, {"persistence"}),
        (subjects.DOCUMENT_DELETED, {"persistence"}),
        (subjects.QUERIES_ASK, {"gateway"}),
        (subjects.INDEX_REMOVE, {"persistence"}),
        (subjects.REPLAY_DEAD_LETTERS, {"gateway"}),
        (subjects.tool("a"), {"agent"}),
        ("$JS.API.STREAM.PURGE.INGEST", set()),
        ("$JS.API.STREAM.DELETE.INGEST", {"provisioner"}),
        ("$JS.API.STREAM.UPDATE.FACTS", {"provisioner"}),
        ("$JS.API.STREAM.MSG.DELETE.INGEST", {"persistence"}),
        ("$JS.API.CONSUMER.DELETE.INGEST.parser", set()),
        ("$JS.API.CONSUMER.CREATE.FACTS", set()),
        ("$JS.API.CONSUMER.MSG.NEXT.INGEST.parser", {"parser"}),
        ("$JS.ACK.CHUNKS.embedder.1.1.1.1.1", {"embedder"}),
        ("_INBOX_agent.x", {"embedder", "retriever", "persistence"}),
        ("_INBOX_provisioner.x", set()),
        ("$SYS.REQ.SERVER.PING", set()),
    ],
)
def test_nobody_else_publishes(subject: str, users: set[str]) -> None:
    """INVARIANT: a tenant sees only its own. Written by hand: a table that grants too much would derive too much."""
    assert who("publish", subject) == users


@pytest.mark.parametrize(
    ("subject", "users"),
    [
        (">", set()),
        ("rag.v1.>", set()),
        (subjects.INGEST_ALL, set()),
        (subjects.CHUNKS_READY, set()),
        (subjects.DEAD_ALL, set()),
        (subjects.FACTS_ALL, {"anonymous"}),
        (subjects.ANSWERS_ALL, {"gateway"}),
        (subjects.QUERIES_ASK, set()),
        (subjects.tool("a"), {"tool-a"}),
        ("_INBOX.>", {"anonymous"}),
        ("_INBOX_gateway.>", {"gateway"}),
        ("$JS.EVENT.ADVISORY.>", {"monitor"}),
    ],
)
def test_nobody_else_listens(subject: str, users: set[str]) -> None:
    """INVARIANT: a tenant sees only its own. Written by hand: a table that grants too much would derive too much."""
    assert who("subscribe", subject) == users


@pytest.mark.parametrize("name", ["*", "a.b", ">", "", "A", "a b"])
def test_a_name_cannot_reach_beyond_its_token(name: str) -> None:
    for make in (producer_user, tool_user):
        with pytest.raises(ValueError, match="of the form"):
            make(name)
    for kind in ("producer", "tool"):
        with pytest.raises(ValueError, match="form"):
            permissions_of(f"{kind}-{name}")


def test_nobody_has_a_name_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="no user 'admin'"):
        permissions_of("admin")


def test_whoever_may_publish_nothing_is_denied_everything() -> None:
    entry = user_entry("x", "secret", Permissions(subscribe=("a",)))
    assert entry["permissions"]["publish"] == {"deny": [">"]}


def test_the_file_for_clusters_holds_no_password_but_variables() -> None:
    text = users_file()
    assert all(f'"password": ${password_variable(user)},' in text for user in fixed_users())
    assert text.count('"password"') == len(fixed_users())
    assert '"user": "platform"' not in text
    assert '"user": "producer"' not in text
    body = text.partition("users: ")[2]
    for user in fixed_users():
        body = body.replace(f"${password_variable(user)}", json.dumps("x"))
    assert [entry["user"] for entry in json.loads(body)] == list(fixed_users())


def test_wildcards_are_understood_as_the_broker_does() -> None:
    assert covers("a.>", "a.b.c")
    assert covers("a.*.c", "a.b.c")
    assert covers("a.*", "a.*")
    assert not covers("a.>", "a")
    assert not covers("a.*", "a.>")
    assert not covers("a.b", "a.*")
    assert not covers("a.*", "a.b.c")
