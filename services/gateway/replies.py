"""Successful answers as bytes, encoded once."""

from typing import Any

import orjson
from starlette.responses import Response

from contracts.messages import Message


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON; an integer beyond 64 bits, which metadata cannot hold, raises TypeError."""
    return orjson.dumps(value)


def json_reply(value: Any, status: int = 200) -> Response:
    """Return an answer of plain values."""
    return Response(json_bytes(value), status, media_type="application/json")


def message_reply(message: Message, status: int = 200) -> Response:
    """Return an answer that is a message, with the fields that are null."""
    return Response(message.model_dump_json(), status, media_type="application/json")
