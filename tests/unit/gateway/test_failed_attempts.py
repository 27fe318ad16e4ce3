from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.responses import PlainTextResponse
from starlette.types import Message, Scope

from services.gateway.authentication import Authentication, ByForm, Unauthenticated, auth_failures
from services.gateway.failed_attempts import FailedAttempts, address_of
from services.gateway.principal import Principal
from services.gateway.rate_limiting import rate_limit_hits
from services.gateway.settings import GatewaySettings
from services.gateway.throttled_counts import LocalCounts

ME, NEIGHBOUR = "192.0.2.1", "192.0.2.2"


class Checked:
    """Knows some credentials, and counts what it was asked to check."""

    def __init__(self) -> None:
        self.good = {"right", "another"}
        self.checks = 0

    async def authenticate(self, credential: str) -> Principal:
        self.checks += 1
        if credential not in self.good:
            raise Unauthenticated("unknown", "nobody holds this")
        return Principal("acme", frozenset(), credential)


class Untold:
    def failed(self, *_told: object) -> None: ...

    used = answered = failed


class Door:
    """The layer around an app."""

    def __init__(self, per_minute: int = 3) -> None:
        self.reader = InMemoryMetricReader()
        self.holder = Checked()
        hits = rate_limit_hits(MeterProvider([self.reader]).get_meter("test"))
        self._layer = Authentication(
            PlainTextResponse("in"),
            desk=lambda _scope: (ByForm(None, self.holder), Untold()),
            failures=auth_failures(NoOpMeter("test")),
            attempts=FailedAttempts(LocalCounts(), hits, per_minute=per_minute),
        )

    async def ask(self, credential: str | None, address: str | None = ME, path: str = "/v1/documents") -> "Answer":
        headers = [] if credential is None else [(b"authorization", f"Bearer {credential}".encode())]
        client = (address, 1) if address else None
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "client": client}
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("nothing is read of who is not known")

        async def send(message: Message) -> None:
            sent.append(message)

        await self._layer(scope, receive, send)
        return Answer(sent)

    async def statuses(self, *credentials: str | None, address: str | None = ME) -> list[int]:
        return [(await self.ask(one, address)).status for one in credentials]

    def hits(self) -> Mapping[str, int]:
        data: Any = self.reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        return {p.attributes["limit"]: p.value for m in metrics for p in m.data.data_points}


class Answer:
    def __init__(self, sent: list[Message]) -> None:
        self.status = sent[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        self.body = sent[1]["body"]


async def test_who_guesses_is_not_listened_to_after_some_guesses() -> None:
    """INVARIANT: nobody has more guesses looked at than the limit; else keys are guessed at full speed."""
    door = Door()
    answers = [await door.ask(f"guess {number}") for number in range(500)]
    assert [answer.status for answer in answers[:4]] == [401, 401, 401, 429]
    assert {answer.status for answer in answers[3:]} == {429}
    assert door.holder.checks == 3
    problem = orjson.loads(answers[3].body)
    assert (problem["code"], problem["limit"]) == ("rate_limited", "address")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert door.hits() == {"address": 497}


async def test_a_right_guess_is_not_found_out_either() -> None:
    door = Door()
    assert await door.statuses("a", "b", "c", "right") == [401, 401, 401, 429]


async def test_who_was_known_goes_on_although_somebody_behind_the_same_proxy_guesses() -> None:
    door = Door()
    assert await door.statuses("right", "a", "b", "c", "right", "d", "right", "another") == [
        *(200, 401, 401, 401, 200, 429, 200),
        429,
    ]


async def test_a_credential_that_is_right_no_more_loses_its_place() -> None:
    door = Door()
    assert await door.statuses("right", "a", "b", "c") == [200, 401, 401, 401]
    door.holder.good.clear()
    assert await door.statuses("right", "right") == [401, 429]


async def test_another_address_is_not_held_up() -> None:
    door = Door()
    assert await door.statuses("a", "b", "c", "d") == [401, 401, 401, 429]
    assert await door.statuses("a", "right", address=NEIGHBOUR) == [401, 200]


async def test_right_ones_and_none_at_all_are_no_attempts() -> None:
    door = Door()
    assert await door.statuses(*["right"] * 50) == [200] * 50
    assert await door.statuses(*[None] * 50) == [401] * 50
    assert await door.statuses("wrong", "right") == [401, 200]


@pytest.mark.parametrize("path", ["/live", "/health", "/docs"])
async def test_what_is_open_stays_open(path: str) -> None:
    door = Door(per_minute=1)
    assert await door.statuses("a", "b") == [401, 429]
    assert (await door.ask("c", path=path)).status == 200


async def test_without_a_bound_all_are_looked_at() -> None:
    door = Door(per_minute=0)
    assert await door.statuses(*["wrong"] * 100) == [401] * 100


async def test_the_default_bounds() -> None:
    door = Door(per_minute=GatewaySettings().gateway_auth_failures_per_minute)
    assert await door.statuses(*["wrong"] * 61) == [401] * 60 + [429]


async def test_openai_s_clients_get_its_error() -> None:
    door = Door(per_minute=1)
    await door.ask("a", path="/v1/models")
    refused = await door.ask("b", path="/v1/chat/completions")
    assert (refused.status, orjson.loads(refused.body)["error"]["type"]) == (429, "rate_limit_error")


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1::9", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/gateway.sock", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_is_what_one_caller_has_for_itself(address: str | None, counted: str) -> None:
    assert address_of({"type": "http", "client": (address, 1) if address else None}) == counted
