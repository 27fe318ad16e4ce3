"""The running platform under evaluation: many requests with a bound, or one after the other against the clock."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from services.cli.client import Gateway, GatewayUnreachable, Problem
from services.cli.errors import first_of_many
from services.cli.gateway_tls import gateway_trust

SEARCH_PATH: Final = "/v1/search"
QUERY_PATH: Final = "/v1/query"
# A model behind the agent may take its time.
ANSWER_TIMEOUT_SECONDS: Final = 180.0
HEALTH_TIMEOUT_SECONDS: Final = 30.0
# Before each further attempt, when the gateway asks for none of its own.
PAUSES_SECONDS: Final = (0.5, 2.0, 8.0)
NOT_FOUND_STATUS: Final = 404


@dataclass(frozen=True, slots=True)
class Timed:
    """What one streamed answer took, in seconds: to its end, and to its first piece of text if there was one."""

    end: float
    first: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that got an error for good: the gateway's code and what it said."""

    code: str
    detail: str


Reply = dict[str, Any] | Refusal
Body = Mapping[str, Any]


def post_all(
    url: str, path: str, bodies: Sequence[Body], *, concurrency: int, on_reply: Callable[[], None]
) -> list[Reply]:
    """Return the replies in the order of the bodies, with at most `concurrency` requests at a time.

    Raises CommandError when the gateway can't be reached, or knows no such collection.
    """
    return asyncio.run(_post_all(url, path, bodies, concurrency, on_reply))


async def _post_all(
    url: str, path: str, bodies: Sequence[Body], concurrency: int, on_reply: Callable[[], None]
) -> list[Reply]:
    replies: list[Reply] = [{}] * len(bodies)
    waiting = iter(enumerate(bodies))

    async def work(gateway: Gateway) -> None:
        for place, body in waiting:
            replies[place] = await _post_patiently(gateway, path, body)
            on_reply()

    async with Gateway(url, timeout_seconds=ANSWER_TIMEOUT_SECONDS) as gateway:
        with first_of_many():
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work(gateway))
    return replies


async def _post_patiently(gateway: Gateway, path: str, body: Body) -> Reply:
    """Repeat what may succeed later; what fails in the end is a result too."""
    pauses = iter(PAUSES_SECONDS)
    while True:
        try:
            reply: dict[str, Any] = await gateway.post(path, body)
            return reply
        except Problem as problem:
            if problem.status == NOT_FOUND_STATUS:
                raise
            pause = next(pauses, None)
            if pause is None or not problem.temporary:
                return Refusal(problem.code, problem.detail)
            await asyncio.sleep(problem.retry_after_seconds or pause)


def post_in_turn(url: str, path: str, bodies: Sequence[Body]) -> Iterator[tuple[float, Reply]]:
    """Yield seconds and reply of one request after the other on one kept connection.

    Plain sockets, because what an HTTP client library costs would count as the platform's time.
    """
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        for body in bodies:
            encoded = json.dumps(body)
            started = time.perf_counter()
            connection.request("POST", parts.path.rstrip("/") + path, encoded, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            seconds = time.perf_counter() - started
            yield seconds, _decoded(response.status, content)
    except (OSError, http.client.HTTPException) as error:
        raise GatewayUnreachable(f"the connection to the gateway at {url} broke: {error}") from None
    finally:
        connection.close()


def stream_in_turn(url: str, path: str, bodies: Sequence[Body]) -> Iterator[tuple[Timed, Reply]]:
    """Yield times and answer of one streamed question after the other on one kept connection."""
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        for body in bodies:
            encoded = json.dumps({**body, "stream": True})
            started = time.perf_counter()
            connection.request("POST", parts.path.rstrip("/") + path, encoded, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != http.client.OK:
                yield Timed(time.perf_counter() - started), _decoded(response.status, response.read())
                continue
            first, reply = _read_events(response)
            ended = time.perf_counter()
            yield Timed(ended - started, first - started if first is not None else None), reply
    except (OSError, http.client.HTTPException) as error:
        raise GatewayUnreachable(f"the connection to the gateway at {url} broke: {error}") from None
    finally:
        connection.close()


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    trust = gateway_trust(parts.geturl())
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.netloc, timeout=ANSWER_TIMEOUT_SECONDS)
    context = None if isinstance(trust, bool) else trust
    return http.client.HTTPSConnection(parts.netloc, timeout=ANSWER_TIMEOUT_SECONDS, context=context)


def _read_events(response: http.client.HTTPResponse) -> tuple[float | None, Reply]:
    """Return when the first piece of text came, and what the last event holds."""
    first, kind = None, ""
    reply: Reply = Refusal("broken_stream", "the stream ended before the answer did")
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
            if kind == "delta" and first is None:
                first = time.perf_counter()
        elif name == "data" and kind in ("done", "error"):
            reply = _decoded(http.client.OK if kind == "done" else 0, value.encode())
    return first, reply


def answerer_of(url: str) -> str | None:
    """Return what writes the answers (a model's name, or `extractive`); None when the platform does not tell."""
    try:
        address, trust = f"{url.rstrip('/')}/health/detailed", gateway_trust(url)
        health = httpx.get(address, timeout=HEALTH_TIMEOUT_SECONDS, verify=trust).json()
        return str(health["services"]["agent"]["replicas"][0]["details"]["answerer"]["answerer"])
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError):
        return None


def _decoded(status: int, content: bytes) -> Reply:
    try:
        fields: dict[str, Any] = json.loads(content)
    except ValueError:
        fields = {}
    if status == http.client.OK:
        return fields
    return Refusal(str(fields.get("code") or f"http_{status}"), str(fields.get("detail") or f"HTTP {status}"))
