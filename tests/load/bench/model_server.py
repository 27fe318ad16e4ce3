"""Embeddings and a language model as a GPU server gives them: each request takes its time and none of our cores.

    python -m tests.load.bench.model_server --embedding-seconds 0.5 --answer-seconds 1

Speaks OpenAI's /v1/embeddings (the directions of a text's words, 384 numbers) and chat completions, each on a port of
its own; prints both base URLs in one line and ends when standard input does. However many requests come at a time, each
has the same latency: how many a replica has in flight is what bounds it.
"""

import argparse
import asyncio
import hashlib
import re
import sys
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
import uvloop
from numpy.typing import NDArray

from tests.load.answers_endpoint import reply_to
from tests.load.bench.lines import say
from tests.scripted_llm import Reply, Request, ScriptedLlm

DIMENSION: Final = 384
MODEL: Final = "words-384"
WORDS: Final = re.compile(r"\w+")


def embedding(text: str) -> NDArray[np.float32]:
    """Return the sum of the directions of the text's words, shape (384,)."""
    words = WORDS.findall(text.lower()) or [""]
    total: NDArray[np.float32] = np.sum([_direction(word) for word in words], axis=0, dtype=np.float32)
    return total


@lru_cache(maxsize=20_000)
def _direction(word: str) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32)


class Embeddings:
    """An endpoint for embeddings whose every answer takes the same time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until its caller leaves."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                request = orjson.loads(await reader.readexactly(length))
                await asyncio.sleep(self._seconds)
                body = self._answer(request)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, request: dict[str, Any]) -> bytes:
        data = [{"index": row, "embedding": embedding(text)} for row, text in enumerate(request["input"])]
        answer = {"object": "list", "model": request["model"], "data": data}
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


class Answers(ScriptedLlm):
    """A language model that answers from the first passage after its time, and keeps no account of it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.default = lambda request: self._reply(request, seconds)

    def _reply(self, request: Request, seconds: float) -> Reply:
        self.requests.clear()
        self.keys.clear()
        self.seconds.clear()
        return Reply(text=reply_to(request, "").text, pause=seconds)


async def serve(given: argparse.Namespace) -> None:
    """Answer until standard input ends."""
    servers = [
        await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, backlog=256)
        for endpoint in (Embeddings(given.embedding_seconds), Answers(given.answer_seconds))
    ]
    say(" ".join(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1" for server in servers))
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embedding-seconds", type=float, default=0.0)
    parser.add_argument("--answer-seconds", type=float, default=0.0)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
