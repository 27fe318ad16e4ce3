"""Reading a JSON body straight into its model."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from contracts.messages import Message
from services.gateway.problems import RequestProblem, invalid_body

M = TypeVar("M", bound=Message)
A = TypeVar("A")
R = TypeVar("R")
JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
# About 3 ms of work.
OFF_LOOP_BYTES: Final = 512 * 1024


async def read_json(request: Request, model: type[M], context: Mapping[str, Any] | None = None) -> M:
    """Return the body, validated in a context; raises RequestProblem with 415, 400 (no JSON) or 422 (wrong fields)."""
    if media_type_of(request) != JSON:
        raise unsupported(request, JSON)
    body = await request.body()
    try:
        return await run_sized(len(body), partial(model.model_validate_json, context=context), body)
    except ValidationError as error:
        raise invalid_body(error) from None


async def run_sized(size_bytes: int, function: Callable[[A], R], argument: A) -> R:
    """Return the function's result; work on something large is done beside the event loop, which serves others."""
    if size_bytes > OFF_LOOP_BYTES:
        return await asyncio.to_thread(function, argument)
    return function(argument)


def media_type_of(request: Request) -> str:
    """Return the Content-Type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(request: Request, *supported: str) -> RequestProblem:
    """Return the problem of a body in a form that the route does not take."""
    given = media_type_of(request) or "nothing"
    return RequestProblem(415, "unsupported_media_type", f"Content-Type must be {' or '.join(supported)}, not {given}")
