"""Streams of answers as the gateway sends them, with connections that break where a test wants it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tests.integration.cli.fake_letters import TRACE_ID, problem

Told = tuple[str, dict[str, Any]]


@dataclass
class FakeAnswers:
    """Tells `events`, or an answer word by word; each connection takes the next of `breaks`: after so many events.

    A negative number breaks in the middle of that event, None not at all. `refusals` are the statuses of resumptions.
    """

    events: list[Told] = field(default_factory=list)
    breaks: list[int | None] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)

    def begin(self, _question: str, answer: dict[str, Any]) -> Response:
        if not self.events:
            words = answer["answer"].split(" ") if answer["answered"] else []
            deltas: list[Told] = [
                ("delta", {"text": word if not number else f" {word}"}) for number, word in enumerate(words)
            ]
            citations = {"citations": answer["citations"]}
            self.events = [("retrieval", {"hits": []}), *deltas, ("citations", citations), ("done", answer)]
        self.events = [("accepted", {"id": "q1", "trace_id": TRACE_ID}), *self.events]
        return self._stream(0)

    async def resume(self, request: Request) -> Response:
        last = request.headers["Last-Event-ID"]
        self.resumed.append(last)
        if self.refusals:
            status = self.refusals.pop(0)
            return problem(
                status, "query_not_found" if status == 404 else "overloaded", "not now", {"Retry-After": "1"}
            )
        return self._stream(int(last))

    def _stream(self, behind: int) -> Response:
        broken_after = self.breaks.pop(0) if self.breaks else None

        async def body() -> AsyncIterator[bytes]:
            yield b": still here\n\n"
            for sent, (kind, data) in enumerate(self.events[behind:]):
                event = (
                    f"id: {behind + sent + 1}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
                )
                if broken_after is not None and sent >= abs(broken_after):
                    if broken_after < 0:
                        yield event[: len(event) // 2]
                    raise ConnectionResetError("the test wants it")
                yield event

        return StreamingResponse(body(), media_type="text/event-stream")
