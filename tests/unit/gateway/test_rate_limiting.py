import asyncio
import re
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from services.gateway.caller_seats import CallerSeats, bind_caller
from services.gateway.principal import Principal, admit
from services.gateway.problems import RequestProblem
from services.gateway.rate_limiting import RateLimiting, rate_limit_hits
from services.gateway.rate_limits import RateLimits
from services.gateway.settings import GatewaySettings
from services.gateway.throttled_counts import LocalCounts
from shared.errors import Overloaded

POLICY = re.compile(r'"key";q=3;w=60, "tenant";q=5;w=60')


class Limited:
    """The layer around an app that counts what reaches it."""

    def __init__(self, *, key: int = 3, tenant: int = 5) -> None:
        self.reader = InMemoryMetricReader()
        meter = MeterProvider([self.reader]).get_meter("test")
        limits = RateLimits(LocalCounts(), key_per_minute=key, tenant_per_minute=tenant)
        self.reached = 0
        self._layer = RateLimiting(self._app, limits=limits, hits=rate_limit_hits(meter))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached += 1
        await PlainTextResponse("done")(scope, receive, send)

    async def ask(self, key_id: str | None = "k1", tenant: str = "acme", path: str = "/v1/search") -> "Answer":
        scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        admit(scope, Principal(tenant, frozenset(), key_id))
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("a refused request's body is not read")

        async def send(message: Message) -> None:
            sent.append(message)

        await self._layer(scope, receive, send)
        return Answer(sent)

    def hits(self) -> dict[str, int]:
        data: Any = self.reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        return {p.attributes["limit"]: p.value for m in metrics for p in m.data.data_points}


class Answer:
    def __init__(self, sent: list[Message]) -> None:
        self.status = sent[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        self.body = sent[1]["body"]


async def test_who_calls_too_often_is_told_when_to_come_back_and_nobody_else_is_held_up() -> None:
    limited = Limited()
    answers = [await limited.ask() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    problem = orjson.loads(refused.body)
    assert (problem["code"], problem["limit"]) == ("rate_limited", "key")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert POLICY.fullmatch(refused.headers["ratelimit-policy"])
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert (await limited.ask("k2")).status == 200
    assert limited.reached == 4
    assert limited.hits() == {"key": 1}


async def test_every_answer_says_what_is_left() -> None:
    limited = Limited()
    left = [(await limited.ask()).headers["ratelimit"] for _ in range(2)]
    assert [re.findall(r"r=(\d+)", one) for one in left] == [["2", "4"], ["1", "3"]]


async def test_the_keys_of_a_tenant_share_its_limit_and_another_tenant_has_its_own() -> None:
    limited = Limited(key=100)
    statuses = [(await limited.ask(f"k{number}")).status for number in range(6)]
    assert statuses == [200] * 5 + [429]
    assert (await limited.ask("k1", "other")).status == 200
    assert limited.hits() == {"tenant": 1}


async def test_keys_of_the_same_name_in_two_tenants_are_two_keys() -> None:
    limited = Limited(tenant=0)
    assert [(await limited.ask()).status for _ in range(4)][-1] == 429
    assert (await limited.ask("k1", "other")).status == 200


async def test_without_keys_only_a_limit_of_the_tenant_holds() -> None:
    unlimited, limited = Limited(key=1, tenant=0), Limited(key=1, tenant=2)
    assert {(await unlimited.ask(None)).status for _ in range(50)} == {200}
    assert "ratelimit" not in (await unlimited.ask(None)).headers
    assert [(await limited.ask(None)).status for _ in range(3)] == [200, 200, 429]


async def test_the_defaults_hold_up_nobody_who_calls_without_keys() -> None:
    settings = GatewaySettings()
    limited = Limited(key=settings.gateway_key_requests_per_minute, tenant=settings.gateway_tenant_requests_per_minute)
    assert {(await limited.ask(None)).status for _ in range(2_000)} == {200}


async def test_one_key_may_send_1000_requests_a_second_by_default() -> None:
    limited = Limited(key=GatewaySettings().gateway_key_requests_per_minute, tenant=0)
    assert {(await limited.ask()).status for _ in range(5_000)} == {200}


async def test_clients_of_openai_get_its_error() -> None:
    limited = Limited(key=1)
    await limited.ask(path="/v1/chat/completions")
    refused = await limited.ask(path="/v1/chat/completions")
    assert refused.status == 429
    error = orjson.loads(refused.body)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "retry-after" in refused.headers


@pytest.mark.parametrize("path", ["/docs", "/health", "/live", "/metrics"])
async def test_what_is_open_to_everybody_is_not_counted(path: str) -> None:
    limited = Limited(key=1)
    assert {(await limited.ask(path=path)).status for _ in range(5)} == {200}


async def test_one_key_does_not_take_all_seats() -> None:
    seats = CallerSeats(10, "full", per_caller=2)

    async def hold(key_id: str, gate: asyncio.Event) -> None:
        bind_caller(key_id)
        with seats.taken():
            await gate.wait()

    gate = asyncio.Event()
    inside = [asyncio.create_task(hold("k1", gate)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(RequestProblem) as refused:
        await hold("k1", gate)
    assert (refused.value.status, refused.value.code, refused.value.error_code) == (429, "error", "too_many_streams")
    other = asyncio.create_task(hold("k2", gate))
    await asyncio.sleep(0)
    assert seats.free == 7
    gate.set()
    await asyncio.gather(*inside, other)
    await hold("k1", gate)
    assert seats.free == 10


async def test_seats_stay_bounded_for_all_keys_together() -> None:
    seats = CallerSeats(1, "full", per_caller=5)
    bind_caller("k1")
    with seats.taken(), pytest.raises(Overloaded), seats.taken():
        pass
    with seats.taken():
        pass
