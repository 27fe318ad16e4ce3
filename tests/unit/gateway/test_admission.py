import asyncio

import orjson
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from services.gateway.admission import Admission


class Work:
    """An app whose requests go on until the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        await self.gate.wait()
        await PlainTextResponse("done")(scope, receive, send)


class Caller:
    """Takes its answer at once, or never."""

    def __init__(self, path: str = "/v1/search", *, reading: bool = True) -> None:
        self.scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        self.answer: list[Message] = []
        self._reading = reading

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        if not self._reading:
            await asyncio.Event().wait()
        self.answer.append(message)

    async def ask(self, admission: Admission) -> "Caller":
        await admission(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.answer[0]["status"])


def admitting(work: Work, *, send_seconds: float = 5.0) -> Admission:
    return Admission(work, max_requests=2, send_seconds=send_seconds, exempt=("/live",))


async def test_the_request_beyond_the_bound_is_refused_at_once_and_told_when_to_come_back() -> None:
    """INVARIANT: admission is bounded. Without the bound whoever comes faster than he is served fills the memory."""
    work = Work()
    admission = admitting(work)
    inside = [asyncio.create_task(Caller().ask(admission)) for _ in range(2)]
    await asyncio.sleep(0)
    refused = await Caller().ask(admission)
    assert work.begun == 2
    assert refused.status == 503
    assert orjson.loads(refused.answer[1]["body"])["code"] == "overloaded"
    assert (b"retry-after", b"1") in refused.answer[0]["headers"]
    work.gate.set()
    assert [caller.status for caller in await asyncio.gather(*inside)] == [200, 200]
    assert (await Caller().ask(admission)).status == 200


async def test_a_supervisor_is_answered_however_full_it_is() -> None:
    work = Work()
    admission = admitting(work)
    tasks = [asyncio.create_task(Caller(path).ask(admission)) for path in ("/v1/search", "/v1/search", "/live")]
    await asyncio.sleep(0)
    assert work.begun == 3
    work.gate.set()
    assert (await tasks[2]).status == 200
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("failing", [False, True])
async def test_a_place_is_free_again_whatever_became_of_the_request(failing: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if failing:
            raise ValueError("broken")
        await PlainTextResponse("done")(scope, receive, send)

    admission = Admission(app, max_requests=1, send_seconds=0.05, exempt=())
    for _ in range(3):
        if failing:
            with pytest.raises(ValueError, match="broken"):
                await Caller().ask(admission)
        else:
            await Caller(reading=False).ask(admission)


async def test_a_caller_that_takes_nothing_of_its_answer_is_let_go() -> None:
    """INVARIANT: who stops reading holds no place for long; else a few such callers are all that is ever served."""
    work = Work()
    work.gate.set()
    admission = Admission(work, max_requests=1, send_seconds=0.05, exempt=())
    async with asyncio.timeout(5):
        silent = await Caller(reading=False).ask(admission)
    assert silent.answer == []
    assert (await Caller().ask(admission)).status == 200
