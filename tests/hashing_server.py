"""An embedding server that needs no model: each word adds a direction of its own."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSION = 256
MODEL = "hashed-words"


@dataclass
class HashingServer:
    """A running server; every answer takes `pause_seconds`, and none comes while it is `away`.

    `instead` makes another answer out of the right one: status, headers, body.
    """

    url: str
    pause_seconds: float = 0.0
    away: bool = False
    texts: int = 0
    instead: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]] | None = None


@contextmanager
def hashing_server() -> Iterator[HashingServer]:
    """Speak OpenAI's /v1/embeddings until the block ends."""
    running = HashingServer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(running.pause_seconds)
            running.texts += len(request["input"])
            data = [{"index": i, "embedding": embedding(text).tolist()} for i, text in enumerate(request["input"])]
            answer = {"object": "list", "model": request["model"], "data": data}
            status, headers, body = 503 if running.away else 200, dict[str, str](), json.dumps(answer).encode()
            if running.instead is not None:
                status, headers, body = running.instead(answer)
            self.send_response(status)
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def embedding(text: str) -> NDArray[np.float64]:
    """Return the sum of the directions of the text's words, shape (256,)."""
    directions = [_direction(word) for word in re.findall(r"\w+", text.lower())]
    total: NDArray[np.float64] = np.sum(directions, axis=0) if directions else _direction("")
    return total


@lru_cache(maxsize=10_000)
def _direction(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSION)
