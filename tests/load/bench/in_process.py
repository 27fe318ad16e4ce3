"""Search without a platform: the same model and the same kind of index called in one process, by threads in a loop.

    python -m tests.load.bench.in_process --index DIR --collection NAME

Each line on its standard input, an object with `threads` and `seconds`, is answered with one line: `latencies_ms`,
`per_second` and `cpu_seconds`. The index is a copy, so that the platform may run beside it.
"""

import argparse
import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.load.bench.lines import say
from tests.load.material import questions_of
from tests.load.reference import Reference

WARM_UP_SEARCHES = 20


class Searches:
    """Threads that embed a question each, and look it up on the loop that the index belongs to."""

    def __init__(self, reference: Reference, loop: asyncio.AbstractEventLoop, texts: Iterator[str]) -> None:
        self._reference, self._loop = reference, loop
        self._texts, self._guard = texts, threading.Lock()

    def run(self, threads: int, seconds: float) -> dict[str, Any]:
        """Search until the time is up."""
        for _ in range(WARM_UP_SEARCHES):
            self._search()
        found: list[float] = []
        started, used = time.perf_counter(), time.process_time()
        workers = [threading.Thread(target=self._work, args=(started + seconds, found)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        spent, seconds = time.process_time() - used, time.perf_counter() - started
        return {"latencies_ms": found, "per_second": len(found) / seconds, "cpu_seconds": spent}

    def _work(self, until: float, found: list[float]) -> None:
        while (begun := time.perf_counter()) < until:
            self._search()
            found.append(round((time.perf_counter() - begun) * 1000, 3))

    def _search(self) -> None:
        with self._guard:
            text = f"{next(self._texts)} {time.time_ns()}"
        # Two threads each wait for their own part: the model computes on theirs, the index on its own.
        vector = self._reference.embed(text)
        hits = asyncio.run_coroutine_threadsafe(self._reference.look_up(text, vector), self._loop).result()
        assert hits, f"nothing was found for {text!r}"


def main() -> None:
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, help="folder of questions in BEIR's form; none = made ones")
    given = parser.parse_args()
    with Reference(given.index, collection=given.collection) as reference:
        reference.run(answer(reference, questions_of(given.data, given.seed)))


async def answer(reference: Reference, texts: Iterator[str]) -> None:
    """Answer each line of standard input."""
    searches = Searches(reference, asyncio.get_running_loop(), texts)
    say("in process")
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        say(json.dumps(await asyncio.to_thread(searches.run, asked["threads"], asked["seconds"])))


if __name__ == "__main__":
    main()
