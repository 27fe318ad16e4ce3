"""Units of work that share a commit, on a real SQLite file."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import IntegrityError, OperationalError

from services.persistence.database import Database, open_database
from services.persistence.settings import PersistenceSettings
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Unavailable

BUSY_SECONDS = 0.05


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = PersistenceSettings(data_dir=tmp_path, persistence_busy_timeout_seconds=BUSY_SECONDS)
    opened = open_database(settings)
    with opened.writes.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE names (name TEXT PRIMARY KEY)")
    yield opened
    opened.close()


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[GroupCommit]:
    opened = GroupCommit(database.writes, threads=1, max_batch=64, patience_seconds=0)
    yield opened
    await opened.close()


def add(name: str) -> Callable[[Connection], str]:
    def unit(connection: Connection) -> str:
        connection.exec_driver_sql("INSERT INTO names VALUES (?)", (name,))
        return name

    return unit


def names(database: Database) -> set[str]:
    with database.reads.connect() as connection:
        return {row[0] for row in connection.exec_driver_sql("SELECT name FROM names")}


def count_commits(engine: Engine) -> list[int]:
    commits: list[int] = []
    event.listen(engine, "commit", lambda _connection: commits.append(1))
    return commits


class Gate:
    """Keeps the writer busy until it is opened, so that what follows has to wait together."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _connection: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(10)


async def together(writer: GroupCommit, *units: Callable[[Connection], Any]) -> list[Any]:
    """Run units so that they wait at the same time, in a single batch; return their results or errors."""
    gate = Gate()
    first = asyncio.create_task(writer.run("gate", gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    rest = [asyncio.create_task(writer.run(f"key {place}", unit)) for place, unit in enumerate(units)]
    await asyncio.sleep(0)
    gate.opened.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


async def test_units_that_wait_together_are_committed_together(database: Database, writer: GroupCommit) -> None:
    commits = count_commits(database.writes)
    results = await together(writer, *(add(f"n{number}") for number in range(20)))
    assert results == [f"n{number}" for number in range(20)]
    assert len(commits) == 2
    assert len(names(database)) == 20


async def test_a_failing_unit_fails_its_caller_alone_and_leaves_nothing(
    database: Database, writer: GroupCommit
) -> None:
    def half_done(connection: Connection) -> None:
        add("half")(connection)
        raise ValueError("a bug")

    one, bug, repeated, two = await together(writer, add("one"), half_done, add("one"), add("two"))
    assert (one, two) == ("one", "two")
    assert isinstance(bug, ValueError)
    assert isinstance(repeated, IntegrityError)
    assert names(database) == {"one", "two"}


async def test_a_caller_hears_of_success_only_after_the_commit(database: Database, writer: GroupCommit) -> None:
    """INVARIANT: what is announced is stored. Resolving a caller from inside the transaction would break it."""
    for number in range(20):
        await writer.run("key", add(f"n{number}"))
        assert f"n{number}" in names(database)


async def test_a_commit_that_fails_fails_every_caller_and_stores_nothing(
    database: Database, writer: GroupCommit
) -> None:
    commits = iter(["of the gate", "of the batch"])

    def refuse_the_batch(_connection: Connection) -> None:
        if next(commits, None) == "of the batch":
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("database or disk is full"))

    event.listen(database.writes, "commit", refuse_the_batch)
    results = await together(writer, add("one"), add("two"))
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert "disk is full" in str(results[0])
    assert names(database) == set()
    assert await writer.run("key", add("one")) == "one"


async def test_a_transaction_that_the_database_ended_fails_every_caller(
    database: Database, writer: GroupCommit
) -> None:
    """SQLite ends the whole transaction by itself when the disk is full; its savepoints are then gone too."""

    def ended_by_the_database(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise OperationalError("INSERT", None, sqlite3.OperationalError("database or disk is full"))

    results = await together(writer, add("one"), ended_by_the_database, add("two"))
    assert {type(result) for result in results} == {Unavailable}
    assert names(database) == set()
    assert await writer.run("key", add("one")) == "one"


async def test_a_database_that_is_locked_by_another_process_is_unavailable_and_heals(
    database: Database, writer: GroupCommit
) -> None:
    assert database.writes.url.database is not None
    with sqlite3.connect(database.writes.url.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked"):
            await writer.run("key", add("one"))
        other.execute("ROLLBACK")
    other.close()
    assert await writer.run("key", add("one")) == "one"


async def test_an_outage_shorter_than_the_patience_is_waited_out(database: Database) -> None:
    writer = GroupCommit(database.writes, threads=1, max_batch=64, patience_seconds=10)
    failures = iter([True])

    def refuse_once(_connection: Connection) -> None:
        if next(failures, False):
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("server closed the connection"))

    event.listen(database.writes, "commit", refuse_once)
    assert await writer.run("key", add("one")) == "one"
    await writer.close()
    assert names(database) == {"one"}


async def test_units_of_one_key_run_in_the_order_they_came(database: Database) -> None:
    writer = GroupCommit(database.writes, threads=1, max_batch=7, patience_seconds=0)
    ran: list[tuple[str, int]] = []
    units = [(f"key {number % 3}", number) for number in range(60)]

    def unit_of(key: str, number: int) -> Callable[[Connection], None]:
        return lambda _connection: ran.append((key, number))

    await asyncio.gather(*(writer.run(key, unit_of(key, number)) for key, number in units))
    await writer.close()
    for key in ("key 0", "key 1", "key 2"):
        numbers = [number for ran_key, number in ran if ran_key == key]
        assert numbers == sorted(numbers)


async def test_what_waits_is_finished_before_the_writer_ends_and_later_callers_are_turned_away(
    database: Database,
) -> None:
    writer = GroupCommit(database.writes, threads=1, max_batch=2, patience_seconds=0)
    waiting = [asyncio.create_task(writer.run(f"key {number}", add(f"n{number}"))) for number in range(9)]
    await asyncio.sleep(0)
    await writer.close()
    assert len(await asyncio.gather(*waiting)) == 9
    with pytest.raises(Unavailable, match="stopping"):
        await writer.run("key", add("late"))


async def test_a_reader_does_not_wait_for_a_transaction_that_writes(database: Database) -> None:
    with database.writes.begin() as connection:
        add("uncommitted")(connection)
        assert names(database) == set()
    assert names(database) == {"uncommitted"}


async def test_a_reader_cannot_write(database: Database) -> None:
    with database.reads.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        add("one")(connection)
