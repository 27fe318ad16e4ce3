"""Sentry's ingest endpoint as far as its library needs it: it takes envelopes, and may be told to hang."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PUBLIC_KEY = "0123456789abcdef0123456789abcdef"


@dataclass
class SentryIngest:
    """A running endpoint; `raw` is everything that was sent, unpacked."""

    dsn: str = ""
    raw: list[bytes] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)

    def events(self) -> list[dict[str, Any]]:
        """Return the events of all envelopes, in order."""
        return [event for envelope in self.raw for event in _events_of(envelope)]

    def item_types(self) -> set[str]:
        """Return what kinds of things were sent."""
        return {json.loads(line)["type"] for envelope in self.raw for line in envelope.split(b"\n")[1:-1:2]}


def _events_of(envelope: bytes) -> Iterator[dict[str, Any]]:
    _, *items = envelope.rstrip(b"\n").split(b"\n")
    for header, payload in zip(items[::2], items[1::2], strict=True):
        if json.loads(header)["type"] == "event":
            yield json.loads(payload)


@contextmanager
def sentry_ingest() -> Iterator[SentryIngest]:
    """Take reports until the block ends."""
    ingest = SentryIngest()
    ingest.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ingest.raw.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            ingest.asked.set()
            ingest.answering.wait()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ingest.dsn = f"http://{PUBLIC_KEY}@127.0.0.1:{server.server_address[1]}/7"
    try:
        yield ingest
    finally:
        ingest.answering.set()
        server.shutdown()
        server.server_close()
