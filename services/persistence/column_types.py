"""Column types that make SQLite and PostgreSQL store the same."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

# Ids sort by their bytes on both, so that pages come in the same order and need no locale.
IdText = String().with_variant(String(collation="C"), "postgresql")
StreamSequence = BigInteger()


class UTCDateTime(TypeDecorator[datetime]):
    """Times that are aware and in UTC on the way in and out; ValueError for a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as the database keeps it; SQLite has no time zones."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value.isoformat()} has no time zone")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, whatever the zone of the database session."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text from producers, without what PostgreSQL (NUL) or UTF-8 (lone surrogates) cannot hold."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it can be stored."""
        return None if value is None else clean(value)


class CleanJSON(TypeDecorator[Any]):
    """JSON from producers with its text made clean; None is SQL's NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return PostgreSQL's binary JSON where there is one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the value with every text in it as it can be stored."""
        return _clean_json(value)


def clean(text: str) -> str:
    """Return text without NUL and with lone surrogates replaced."""
    whole = text.replace("\x00", "")
    return whole if whole.isascii() else whole.encode("utf-8", "replace").decode("utf-8")


def _clean_json(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _clean_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean_json(item) for item in value]
    return value
