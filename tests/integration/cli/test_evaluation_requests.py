"""How an evaluation asks: with a bound, patiently, and never losing the order."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.cli.client import GatewayUnreachable, Problem
from services.cli.evaluation.http_platform import Refusal, post_all, post_in_turn


class Gateway(ThreadingHTTPServer):
    """Answers with the number that was asked for, or with the statuses that the body names, one per attempt."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.attempts: dict[int, int] = {}
        self.at_a_time = 0
        self.most_at_a_time = 0
        self.connections = 0
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.guard:
            attempt = self.server.attempts.get(body["number"], 0)
            self.server.attempts[body["number"]] = attempt + 1
            self.server.at_a_time += 1
            self.server.most_at_a_time = max(self.server.most_at_a_time, self.server.at_a_time)
        # Later numbers answer sooner, so that an order by arrival would be another one.
        time.sleep(0.02 / (1 + body["number"]))
        with self.server.guard:
            self.server.at_a_time -= 1
        statuses = body.get("statuses", [200])
        self.reply(statuses[min(attempt, len(statuses) - 1)], body["number"])

    def reply(self, status: int, number: int) -> None:
        fields = {"number": number} if status == 200 else {"code": f"code_{status}", "detail": "because"}
        content = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield server
        server.shutdown()


def ask(gateway: Gateway, *bodies: dict[str, Any], concurrency: int = 3) -> tuple[list[Any], int]:
    replied = []
    replies = post_all(gateway.url, "/x", bodies, concurrency=concurrency, on_reply=lambda: replied.append(1))
    return replies, len(replied)


def test_replies_come_in_the_order_of_the_requests_within_the_bound(gateway: Gateway) -> None:
    replies, replied = ask(gateway, *({"number": number} for number in range(30)), concurrency=3)
    assert replies == [{"number": number} for number in range(30)]
    assert replied == 30
    assert 1 < gateway.most_at_a_time <= 3


def test_what_may_succeed_later_is_asked_again(gateway: Gateway) -> None:
    replies, _ = ask(gateway, {"number": 0, "statuses": [503, 200]})
    assert replies == [{"number": 0}]
    assert gateway.attempts == {0: 2}


def test_an_error_for_good_is_a_result_beside_the_others(gateway: Gateway) -> None:
    replies, _ = ask(gateway, {"number": 0, "statuses": [422]}, {"number": 1})
    assert replies == [Refusal("code_422", "because"), {"number": 1}]
    assert gateway.attempts == {0: 1, 1: 1}


def test_a_collection_that_is_not_there_ends_the_run(gateway: Gateway) -> None:
    with pytest.raises(Problem, match="because"):
        ask(gateway, {"number": 0, "statuses": [404]}, {"number": 1})


def test_against_the_clock_there_is_one_connection_and_no_second_attempt(gateway: Gateway) -> None:
    bodies: list[dict[str, Any]] = [{"number": 0}, {"number": 1, "statuses": [503]}, {"number": 2}]
    taken, replies = zip(*post_in_turn(gateway.url, "/x", bodies), strict=True)
    assert list(replies) == [{"number": 0}, Refusal("code_503", "because"), {"number": 2}]
    assert taken[0] >= 0.02
    assert gateway.connections == 1
    assert gateway.attempts == {0: 1, 1: 1, 2: 1}


def test_a_gateway_that_is_not_there_is_said() -> None:
    with pytest.raises(GatewayUnreachable, match="rag up"):
        post_all("http://127.0.0.1:9", "/x", [{}], concurrency=1, on_reply=lambda: None)
    with pytest.raises(GatewayUnreachable, match="broke"):
        list(post_in_turn("http://127.0.0.1:9", "/x", [{}]))
