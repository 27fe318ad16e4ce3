"""Options that several commands share, and how their values are read."""

import json
from datetime import UTC, datetime, timedelta
from re import fullmatch
from typing import Annotated, Any, Final

import typer

DEFAULT_PORT: Final = 8000
DEFAULT_URL: Final = f"http://127.0.0.1:{DEFAULT_PORT}"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Url = Annotated[str, typer.Option("--url", metavar="URL", help="Address of the gateway (or RAG_URL).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Collection = Annotated[str | None, typer.Option("--collection", "-c", metavar="NAME", help="Only this collection.")]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="JSON", help='Metadata filter, as {"year": {"gte": 2025}}.')
]


def parse_filter(text: str | None) -> dict[str, Any] | None:
    """Return the metadata filter that `--filter` holds; BadParameter when it is not a JSON object."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--filter is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('--filter must be a JSON object, as {"team": "infra"}')
    return value


def parse_metadata(pairs: list[str]) -> dict[str, Any]:
    """Return the fields of `--metadata name=value`: numbers, true, false and lists as such, the rest as text."""
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--metadata takes name=value, found {pair!r}")
        fields[name] = _metadata_value(text)
    return fields


def parse_moment(option: str, text: str | None) -> str | None:
    """Return a time with its zone, of a time (without a zone: this machine's) or of how long ago it was.

    BadParameter names the option where the text is neither.
    """
    if text is None:
        return None
    if ago := fullmatch(r"(\d{1,6})([smhd])", text):
        moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return moment.isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{option} takes a time as 2026-11-01T10:00Z, or 30m, 2h, 7d; found {text!r}"
        ) from None


def _metadata_value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, dict) else value
