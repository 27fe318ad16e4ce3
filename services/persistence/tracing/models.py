"""The tables of the span store; they stand in a database of their own, or beside the documents on PostgreSQL."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table
from sqlmodel import Field, SQLModel

from services.persistence.column_types import CleanText, IdText

_NAMES = {"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}


class TraceBase(SQLModel):
    """What the tables share: a metadata of their own, in which every constraint has a name."""

    metadata = MetaData(naming_convention=_NAMES)


class TraceRow(TraceBase, table=True):
    """What the spans of a trace come to, as one tenant sees it."""

    __tablename__ = "traces"
    __table_args__ = (
        # Pages of a tenant, newest first, and what goes first when the store is full.
        Index(None, "tenant", "bulk", "start_ns"),
        Index(None, "tenant", "start_ns"),
        Index(None, "start_ns"),
    )

    trace_id: str = Field(sa_column=Column(IdText, primary_key=True))
    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    name: str = Field(sa_column=Column(CleanText, nullable=False))
    service: str = Field(sa_column=Column(CleanText, nullable=False))
    services: str = Field(sa_column=Column(CleanText, nullable=False))
    rooted: bool = Field(sa_column=Column(Boolean, nullable=False))
    first_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    start_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    end_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    duration_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    spans: int = Field(sa_column=Column(Integer, nullable=False))
    dropped: int = Field(sa_column=Column(Integer, nullable=False))
    failed: bool = Field(sa_column=Column(Boolean, nullable=False))
    bulk: bool = Field(sa_column=Column(Boolean, nullable=False))
    received_ns: int = Field(sa_column=Column(BigInteger, nullable=False))


class SpanRow(TraceBase, table=True):
    """A span; `body` is the JSON that readers get."""

    __tablename__ = "spans"
    # The body stands in the key's own tree: without a row id SQLite stores it once.
    __table_args__ = ({"sqlite_with_rowid": False},)

    trace_id: str = Field(sa_column=Column(IdText, primary_key=True))
    tenant: str = Field(sa_column=Column(IdText, primary_key=True))
    span_id: str = Field(sa_column=Column(IdText, primary_key=True))
    start_ns: int = Field(sa_column=Column(BigInteger, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


TRACES: Table = TraceBase.metadata.tables["traces"]
SPANS: Table = TraceBase.metadata.tables["spans"]
