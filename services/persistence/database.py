"""Connections to SQLite or PostgreSQL, and what their failures mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.persistence.settings import PersistenceSettings
from shared.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from services.persistence.psycopg_patience import PatientConnection

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# `require` checks as well once there is an authority.
CHECKING_MODES = ("require", "verify-ca", "verify-full")
TLS_HINT = "; sslmode, sslrootcert, sslcert and sslkey in RAG_DATABASE_URL say how TLS is spoken"
TRACES_FILE = "traces.db"
CONNECT_TIMEOUT_SECONDS = 5
# What an answer may take beyond the time of its statement, which the server itself keeps while it is well.
ANSWER_SLACK_SECONDS = 5.0
OUTAGES = (OperationalError, InterfaceError, InternalError, PoolTimeout, OSError)


@dataclass(frozen=True, slots=True)
class Database:
    """Engines with connections for writing and for reading; readers never hold up the writer, nor it them."""

    writes: Engine
    reads: Engine
    write_threads: int

    def close(self) -> None:
        """Close every connection."""
        self.reads.dispose()
        self.writes.dispose()


def open_database(settings: PersistenceSettings) -> Database:
    """Return engines for the database of the settings; nothing is connected yet. Misconfigured for a wrong one."""
    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, settings)
    return _open_postgresql(
        url, settings, writing=settings.persistence_write_threads, reading=settings.persistence_read_threads
    )


def open_trace_database(settings: PersistenceSettings) -> Database:
    """Return engines for the span store: a SQLite file beside that of the documents, or the same PostgreSQL."""
    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        # SQLite has one writer a file: here spans and documents never wait for one another.
        return _open_sqlite(url.set(database=str(Path(url.database or "rag.db").with_name(TRACES_FILE))), settings)
    return _open_postgresql(url, settings, writing=1, reading=1)


def database_url(settings: PersistenceSettings) -> URL:
    """Return the address of the database with the driver that is used for it; Misconfigured when it is none."""
    if settings.database_url is None:
        return URL.create("sqlite", database=str(settings.data_dir / "rag.db"))
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        raise Misconfigured(
            "RAG_DATABASE_URL is no database address; it looks like postgresql://user@host/name"
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise Misconfigured(f"RAG_DATABASE_URL is a {kind} address; use postgresql:// or sqlite://")
    _require_checks(url)
    return url.set(drivername=DRIVERS[kind])


def _require_checks(url: URL) -> None:
    """Raise Misconfigured where an authority is named that the database's client would not ask."""
    authority, mode = url.query.get("sslrootcert"), url.query.get("sslmode")
    # With `system` the client itself insists on the checks.
    if authority not in (None, "system") and mode not in CHECKING_MODES:
        raise Misconfigured(
            f"RAG_DATABASE_URL names an authority (sslrootcert), but with sslmode={mode or 'prefer'} no certificate is "
            "checked; write sslmode=verify-full"
        )


def is_outage(error: BaseException) -> bool:
    """Tell whether the database failed, rather than what was asked of it."""
    if is_disconnect(error) or isinstance(error, OUTAGES):
        return True
    # The bare class is how SQLite reports a damaged file; its other subclasses are faults of ours.
    return type(error) is DatabaseError


def is_disconnect(error: BaseException) -> bool:
    """Tell whether the connection is gone, and with it the transaction."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def unavailable(error: BaseException) -> Unavailable:
    """Return what a caller is told of an outage; no statement and no parameter is in it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause)
    first_line = text.partition("\n")[0]
    # Words of the client library, which are the same in every language.
    hint = TLS_HINT if "SSL" in text or "certificate" in text else ""
    return Unavailable(f"the database does not do its work: {first_line}{hint}", code="database_unavailable", away=True)


def _open_sqlite(url: URL, settings: PersistenceSettings) -> Database:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the data folder {settings.data_dir} cannot be made: {error.strerror}") from None
    timeout = settings.persistence_busy_timeout_seconds
    writes = _sqlite_engine(url, connections=1, timeout=timeout)
    reads = _sqlite_engine(url, connections=settings.persistence_read_threads, timeout=timeout, pragma="query_only=ON")

    @event.listens_for(writes, "begin")
    def take_write_lock(connection: Connection) -> None:
        # A transaction that reads first and asks for the lock later may find that it can never have it.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return Database(writes, reads, write_threads=1)


def _sqlite_engine(url: URL, *, connections: int, timeout: float, pragma: str = "query_only=OFF") -> Engine:
    engine = _engine(url, connections, {"check_same_thread": False, "timeout": timeout})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # The driver's own transactions would begin and commit behind our back.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        # A commit is then with the kernel, not yet on the disk: a killed process loses nothing, a power cut may lose
        # the last commits but never the database.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA {pragma}")
        # Its own knows the letters of ASCII only.
        connection.create_function("lower", 1, _lower, deterministic=True)

    return engine


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _open_postgresql(url: URL, settings: PersistenceSettings, *, writing: int, reading: int) -> Database:
    milliseconds = int(settings.persistence_statement_timeout_seconds * 1000)
    options = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "application_name": f"rag-persistence-{settings.instance}",
        "options": f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds}",
        # A host that vanished answers nothing at all: the kernel gives up on it after this long.
        "tcp_user_timeout": milliseconds,
    }
    answer_seconds = settings.persistence_statement_timeout_seconds + ANSWER_SLACK_SECONDS
    writes = _postgresql_engine(url, writing, options, answer_seconds)
    reads = _postgresql_engine(url, reading, options, answer_seconds)
    return Database(writes, reads, writing)


def _postgresql_engine(url: URL, connections: int, options: dict[str, Any], answer_seconds: float) -> Engine:
    # The driver is loaded where it is used only.
    from services.persistence.psycopg_patience import PatientConnection

    engine = _engine(url, connections, options)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: object, arguments: Sequence[Any], named: dict[str, Any]) -> "PatientConnection":
        connection = PatientConnection.connect(*arguments, **named)
        connection.answer_seconds = answer_seconds
        return connection

    return engine


def _engine(url: URL, connections: int, options: dict[str, Any]) -> Engine:
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_pre_ping=url.get_backend_name() != "sqlite",
        connect_args=options,
        json_serializer=_to_json,
        json_deserializer=orjson.loads,
        # What a failing statement was given belongs to a tenant and not into a log.
        hide_parameters=True,
    )


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()
