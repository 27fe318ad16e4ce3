"""Keys and the audit in the database, on SQLite and on PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from contracts.audit import AuditQuery, Deleted
from contracts.keys import MAX_KEYS_TOLD, KeyCreate, KeyListQuery, KeyRevoke
from services.persistence import api_keys, audit_log, key_tool
from services.persistence.database import Database
from services.persistence.settings import PersistenceSettings
from shared.errors import Conflict, InvalidMessage, NotFound, Rejected
from tests.integration.persistence_database import migrated

AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def database(each_database: PersistenceSettings) -> Iterator[Database]:
    with migrated(each_database) as opened:
        yield opened


def wish(key_id: str = "aaaaaaaa0001", **fields: Any) -> KeyCreate:
    values = {"id": key_id, "prefix": f"rag_{key_id}", "tenant": "acme", "scopes": ["query"], "digest": "0" * 64}
    return KeyCreate.model_validate({**values, **fields})


def create(database: Database, key_id: str = "aaaaaaaa0001", at: datetime = AT, **fields: Any) -> None:
    with database.writes.begin() as connection:
        api_keys.create(connection, wish(key_id, **fields), at)


def revoke(database: Database, key_id: str, at: datetime = AT, **fields: Any) -> None:
    with database.writes.begin() as connection:
        api_keys.revoke(connection, KeyRevoke(id=key_id, **fields), at)


def changed(database: Database, after: int = 0) -> list[tuple[str, int, bool]]:
    with database.reads.connect() as connection:
        found = api_keys.changes(connection, after)
    return [(check.id, check.version, check.revoked_at is not None) for check in found.keys]


def listed(database: Database, **fields: Any) -> list[str]:
    found, cursor = [], None
    with database.reads.connect() as connection:
        while True:
            page = api_keys.page(connection, KeyListQuery(**fields, limit=2, cursor=cursor))
            found += [key.id for key in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found


def audited(database: Database, tenant: str = "acme", **fields: Any) -> list[tuple[str, str | None]]:
    with database.reads.connect() as connection:
        page = audit_log.page(connection, AuditQuery(tenant=tenant, **fields))
    return [(entry.action, entry.actor) for entry in page.items]


def test_changes_come_in_order_and_only_those_that_are_new(database: Database) -> None:
    create(database, "aaaaaaaa0001")
    create(database, "aaaaaaaa0002")
    revoke(database, "aaaaaaaa0001")
    assert changed(database) == [("aaaaaaaa0002", 2, False), ("aaaaaaaa0001", 3, True)]
    assert changed(database, after=2) == [("aaaaaaaa0001", 3, True)]
    assert changed(database, after=3) == []


def test_a_second_revocation_changes_nothing(database: Database) -> None:
    create(database)
    revoke(database, "aaaaaaaa0001")
    revoke(database, "aaaaaaaa0001", at=AT + timedelta(days=1))
    assert changed(database) == [("aaaaaaaa0001", 2, True)]
    assert sorted(audited(database)) == [("key_created", None), ("key_revoked", None)]


def test_a_key_of_another_tenant_is_as_one_that_does_not_exist(database: Database) -> None:
    create(database)
    with pytest.raises(NotFound) as foreign:
        revoke(database, "aaaaaaaa0001", tenant="globex")
    with pytest.raises(NotFound) as missing:
        revoke(database, "aaaaaaaa0002", tenant="globex")
    assert foreign.value.message.replace("0001", "0002") == missing.value.message
    assert listed(database, tenant="globex") == []
    assert changed(database) == [("aaaaaaaa0001", 1, False)]


def test_keys_are_listed_newest_first_of_one_tenant_or_of_all(database: Database) -> None:
    for number, tenant in enumerate(("acme", "globex", "acme", "acme", "globex")):
        create(database, f"aaaaaaaa000{number}", at=AT + timedelta(seconds=number), tenant=tenant)
    assert listed(database, tenant="acme") == ["aaaaaaaa0003", "aaaaaaaa0002", "aaaaaaaa0000"]
    assert listed(database) == [f"aaaaaaaa000{number}" for number in (4, 3, 2, 1, 0)]


def test_no_key_is_in_the_database_nor_in_a_list(database: Database) -> None:
    create(database, digest="d" * 64)
    with database.reads.connect() as connection:
        page = api_keys.page(connection, KeyListQuery())
    assert "dddd" not in page.model_dump_json()


def test_an_id_is_given_once(database: Database) -> None:
    create(database)
    with pytest.raises(Conflict):
        create(database)


def test_a_key_that_has_expired_is_not_made(database: Database) -> None:
    with pytest.raises(Rejected, match="time to come"):
        create(database, expires_at=AT)


def test_a_change_is_in_the_audit_of_the_key_and_of_who_made_it(database: Database) -> None:
    create(database, actor="operator1", actor_tenant="default")
    assert audited(database, "acme") == [("key_created", "operator1")]
    assert audited(database, "default") == [("key_created", "operator1")]
    assert audited(database, "globex") == []


def test_replicas_at_the_same_time_never_give_two_changes_one_version(database: Database) -> None:
    """Each takes the lock before it reads the last version; else a gateway would miss one of the two changes."""
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for turn in range(5):
            create(database, f"aaaaaaa{number}{turn:04}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version for _, version, _ in changed(database)] == list(range(1, 21))


def test_dead_keys_are_forgotten_but_never_the_last_change(database: Database) -> None:
    """A version that is given a second time would hide the later change from every gateway that saw the first."""
    create(database, "aaaaaaaa0001", expires_at=AT + timedelta(days=1))
    create(database, "aaaaaaaa0002")
    create(database, "aaaaaaaa0003")
    revoke(database, "aaaaaaaa0003")
    with database.writes.begin() as connection:
        assert api_keys.forget_dead(connection, AT + timedelta(days=2), at_most=10) == 1
    assert changed(database) == [("aaaaaaaa0002", 2, False), ("aaaaaaaa0003", 4, True)]


def test_many_changes_come_in_pieces(database: Database) -> None:
    with database.writes.begin() as connection:
        for number in range(MAX_KEYS_TOLD + 1):
            api_keys.create(connection, wish(f"aaaaaaa{number:05}"), AT)
    with database.reads.connect() as connection:
        first = api_keys.changes(connection, 0)
        rest = api_keys.changes(connection, first.keys[-1].version)
    assert (len(first.keys), first.more, len(rest.keys), rest.more) == (MAX_KEYS_TOLD, True, 1, False)


def deleted(audit_id: str, seconds: int, **fields: Any) -> Deleted:
    values = {"tenant": "acme", "actor": "key1", "occurred_at": AT + timedelta(seconds=seconds)}
    return Deleted.model_validate({"audit_id": audit_id, **values, **fields})


def keep(database: Database, *facts: Deleted) -> None:
    with database.writes.begin() as connection:
        for fact in facts:
            audit_log.keep(connection, fact)


def test_a_fact_that_comes_twice_is_kept_once(database: Database) -> None:
    keep(database, deleted("a", 0), deleted("a", 0))
    assert audited(database) == [("deleted", "key1")]


def test_the_audit_is_read_by_pages_newest_first_and_by_what_is_asked_for(database: Database) -> None:
    keep(database, *(deleted(str(number), number, actor=f"key{number % 2}") for number in range(5)))
    keep(database, deleted("foreign", 9, tenant="globex"))
    with database.reads.connect() as connection:
        first = audit_log.page(connection, AuditQuery(tenant="acme", limit=3))
        rest = audit_log.page(connection, AuditQuery(tenant="acme", limit=3, cursor=first.next_cursor))
        some = audit_log.page(
            connection,
            AuditQuery(
                tenant="acme",
                actor="key0",
                action="deleted",
                since=AT + timedelta(seconds=1),
                until=AT + timedelta(seconds=4),
            ),
        )
    assert [entry.id for entry in first.items] == ["4", "3", "2"]
    assert ([entry.id for entry in rest.items], rest.next_cursor) == (["1", "0"], None)
    assert [entry.id for entry in some.items] == ["2"]


def test_what_is_over_the_size_of_the_audit_goes_oldest_first(database: Database) -> None:
    keep(database, *(deleted(str(number), number) for number in range(5)))
    with database.writes.begin() as connection:
        assert audit_log.drop_beyond(connection, most=3, at_most=1) == 1
        assert audit_log.drop_beyond(connection, most=3, at_most=10) == 1
    with database.reads.connect() as connection:
        left = connection.execute(text("SELECT audit_id FROM audit ORDER BY created_at")).scalars().all()
    assert len(left) == 3
    assert left[-1] == "4"


def test_the_tool_works_on_a_database_that_nobody_has_opened_yet(each_database: PersistenceSettings) -> None:
    made = key_tool.answer({"do": "create", **wish().model_dump()}, each_database)
    assert made.model_dump()["id"] == "aaaaaaaa0001"
    key_tool.answer({"do": "revoke", "id": "aaaaaaaa0001"}, each_database)
    [key] = key_tool.answer({"do": "list"}, each_database).model_dump()["items"]
    assert key["revoked_at"] is not None


@pytest.mark.parametrize("fields", [{"tenant": "A B"}, {"scopes": []}, {"scopes": ["root"]}, {"digest": "x"}], ids=str)
def test_the_tool_refuses_what_is_no_key(fields: dict[str, Any], tmp_path: Any) -> None:
    request = {"do": "create", **wish().model_dump(), **fields}
    with pytest.raises(InvalidMessage, match=next(iter(fields))):
        key_tool.answer(request, PersistenceSettings(data_dir=tmp_path))
