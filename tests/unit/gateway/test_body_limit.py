import asyncio

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from services.gateway.body_limit import BodyLimit
from services.gateway.problems import problem_of
from shared.errors import PlatformError


class Connection:
    """A caller that sends a body in pieces and notes what it is answered, and when."""

    def __init__(self, pieces: list[bytes], headers: dict[str, str] | None = None, path: str = "/v1/search") -> None:
        self.pieces = pieces
        self.sent_pieces = 0
        self.answer: list[Message] = []
        self.pieces_sent_when_answered = 0
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "query_string": b""}

    async def receive(self) -> Message:
        if self.sent_pieces == len(self.pieces):
            return {"type": "http.disconnect"}
        self.sent_pieces += 1
        last = self.sent_pieces == len(self.pieces)
        return {"type": "http.request", "body": self.pieces[self.sent_pieces - 1], "more_body": not last}

    async def send(self, message: Message) -> None:
        if not self.answer:
            self.pieces_sent_when_answered = self.sent_pieces
        self.answer.append(message)

    @property
    def status(self) -> int:
        status: int = self.answer[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.answer[1:])


async def count_body(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await Request(scope, receive).body()
    except PlatformError as error:
        await problem_of(error)(scope, receive, send)
    else:
        await PlainTextResponse(str(len(body)))(scope, receive, send)


def limited(idle_seconds: float = 5.0, max_held_bytes: int = 10_000) -> BodyLimit:
    return BodyLimit(
        count_body,
        max_documents_bytes=1_000,
        max_mcp_bytes=500,
        max_body_bytes=100,
        max_held_bytes=max_held_bytes,
        idle_seconds=idle_seconds,
        linger_seconds=5.0,
    )


async def exchange(connection: Connection, app: BodyLimit | None = None) -> Connection:
    await (app or limited())(connection.scope, connection.receive, connection.send)
    return connection


async def test_a_body_up_to_the_limit_passes() -> None:
    done = await exchange(Connection([b"x" * 60, b"x" * 40], {"content-length": "100"}))
    assert (done.status, done.body) == (200, b"100")


async def test_an_announced_body_over_the_limit_is_refused_before_it_is_read() -> None:
    done = await exchange(Connection([b"x" * 60, b"x" * 60], {"content-length": "120"}))
    assert (done.status, done.pieces_sent_when_answered) == (413, 0)
    assert orjson.loads(done.body)["code"] == "too_large"


async def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_long() -> None:
    done = await exchange(Connection([b"x" * 60] * 5))
    assert (done.status, done.pieces_sent_when_answered) == (413, 2)


async def test_a_refused_caller_may_finish_sending_before_the_connection_closes() -> None:
    done = await exchange(Connection([b"x" * 60] * 5))
    assert done.sent_pieces == 5
    assert (b"connection", b"close") in done.answer[0]["headers"]
    assert done.answer[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_only_documents_may_be_large() -> None:
    assert (await exchange(Connection([b"x" * 900], path="/v1/documents"))).status == 200
    assert (await exchange(Connection([b"x" * 900], path="/v1/query"))).status == 413


@pytest.mark.parametrize("length", ["-5", "ten", "1e9"])
async def test_a_length_that_is_no_number_does_not_lift_the_limit(length: str) -> None:
    assert (await exchange(Connection([b"x" * 900], {"content-length": length}))).status == 413


async def test_a_body_that_stops_half_way_does_not_hold_the_request_for_ever() -> None:
    connection = Connection([b"x"])

    async def stop() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    connection.receive = stop  # type: ignore[method-assign]
    done = await exchange(connection, limited(idle_seconds=0.01))
    assert (done.status, orjson.loads(done.body)["code"]) == (408, "body_timeout")


async def test_bodies_in_work_are_bounded_together_and_given_free_afterwards() -> None:
    app = limited(max_held_bytes=100)
    waiting = Connection([b"x" * 60, b"x" * 10])
    second = asyncio.Event()
    receive = waiting.receive

    async def pause() -> Message:
        if waiting.sent_pieces == 1:
            await second.wait()
        return await receive()

    waiting.receive = pause  # type: ignore[method-assign]
    first = asyncio.create_task(exchange(waiting, app))
    await asyncio.sleep(0)
    refused = await exchange(Connection([b"x" * 60]), app)
    assert (refused.status, orjson.loads(refused.body)["code"]) == (503, "overloaded")
    second.set()
    assert (await first).status == 200
    assert (await exchange(Connection([b"x" * 60]), app)).status == 200
