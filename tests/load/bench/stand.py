"""What every row measures on: sizes, folders, a running platform that is filled, and clients in their own processes."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.load.overload import begin, result_of
from tests.platform_process import PROJECT, RunningPlatform, running_platform, wait_until
from tests.servers import child_environment

# As many tokens as SciFact's abstracts have, some three hundred.
SENTENCES: Final = 18
# The limit for one key is counted, as on any platform, but higher than one client on this machine gets.
SETTINGS: Final = {"RAG_GATEWAY_KEY_REQUESTS_PER_MINUTE": "100000000"}
ENDED_SECONDS: Final = 300.0
PATIENCE_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 60.0
# Looks are work as well, beside what is measured: they are rare as long as the end is far.
LOOK_SECONDS: Final = 0.25
LONGEST_LOOK_SECONDS: Final = 2.0
DOCUMENTS_PER_SECOND_AT_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; times in seconds."""

    rounds: int
    window_seconds: float
    documents: int
    batch_documents: int
    flood_documents: int
    questions: Mapping[int, int]
    replicas: tuple[int, ...]
    stub_seconds: float
    chunks: tuple[int, ...]
    single_documents: int
    soak_seconds: float
    soak_warm_up_seconds: float


FULL: Final = Sizes(
    rounds=3,
    window_seconds=15.0,
    documents=1_500,
    batch_documents=1_500,
    flood_documents=20_000,
    questions={1: 60, 8: 480, 32: 1_920},
    replicas=(1, 2, 4, 8),
    stub_seconds=0.5,
    chunks=(1_000, 10_000, 50_000),
    single_documents=60,
    soak_seconds=1_200.0,
    # The broker remembers message ids for ten minutes, and so long its memory grows.
    soak_warm_up_seconds=660.0,
)
SHORT: Final = Sizes(
    rounds=1,
    window_seconds=4.0,
    documents=100,
    batch_documents=60,
    flood_documents=2_000,
    questions={1: 10, 8: 40, 32: 96},
    replicas=(1, 2),
    stub_seconds=1.0,
    chunks=(500, 2_000),
    single_documents=5,
    soak_seconds=40.0,
    soak_warm_up_seconds=10.0,
)


@dataclass(frozen=True)
class Stand:
    """The place of one row: its sizes and an empty folder; `seed` makes documents and questions.

    Where long documents are asked for, those of `data` take their place, a folder in BEIR's form.
    """

    sizes: Sizes
    folder: Path
    seed: int = 7
    data: Path | None = None

    @property
    def material(self) -> tuple[str, ...]:
        """Return the options of a client that name seed and folder."""
        return "--seed", str(self.seed), *(("--data", str(self.data)) if self.data else ())

    @contextmanager
    def platform(self, *arguments: str, name: str = "data", **settings: str) -> Iterator["Platform"]:
        """Run the platform on a folder of the stand; the same name has what the last run left."""
        ports = ("--nats-port", "0", "--nats-monitor-port", "0", "--health-ports", "0")
        with (
            running_platform(self.folder / name, *ports, *arguments, **SETTINGS, **settings) as running,
            httpx.Client(timeout=ANSWER_SECONDS) as client,
        ):
            yield Platform(running, self, client)

    def say(self, text: str) -> None:
        """Tell who waits how far it is."""
        sys.stderr.write(f"bench: {text}\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class Platform:
    """A running platform, and what is asked of it around a measurement."""

    running: RunningPlatform
    stand: Stand
    client: httpx.Client

    @property
    def url(self) -> str:
        """Return the gateway's base URL."""
        return self.running.url

    def get(self, path: str) -> Any:
        """Return what the gateway answers; a busy platform may ask for patience."""
        return wait_until(lambda: self._answer(path), f"{path} is answered", PATIENCE_SECONDS)

    def _answer(self, path: str) -> Any:
        answer = self.client.get(f"{self.url}{path}")
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return None
        answer.raise_for_status()
        return answer.json()

    def statuses(self, collection: str) -> dict[str, int]:
        """Return the number of documents of a collection by status."""
        items = self.get("/v1/collections")["items"]
        found: dict[str, int] = next((item["by_status"] for item in items if item["name"] == collection), {})
        return found

    def chunks(self) -> int:
        """Return how many chunks the index holds."""
        index = self.get("/health/detailed")["services"]["retriever"]["replicas"][0]["details"]["index"]
        return int(index["chunks"])

    def backlog(self) -> dict[str, int]:
        """Return what waits or is in work, by stage."""
        stages = self.get("/v1/admin/pipeline")["stages"]
        return {stage["stage"]: stage["backlog"] + stage["in_flight"] for stage in stages}

    def publish(self, documents: int, collection: str, sentences: int = SENTENCES) -> subprocess.Popen[str]:
        """Begin to send made documents straight onto the broker."""
        material = self.stand.material if sentences == SENTENCES else ("--seed", str(self.stand.seed))
        options = ("--documents", str(documents), "--collection", collection, "--sentences", str(sentences))
        return begin("flood", "--nats", self.running.nats_url, *material, *options)

    def fill(self, documents: int, collection: str, sentences: int = SENTENCES, seconds: float = 1_800.0) -> None:
        """Send made documents and wait until all are indexed."""
        result_of(self.publish(documents, collection, sentences), seconds)
        self.wait_indexed(documents, collection, seconds)

    def wait_indexed(self, documents: int, collection: str, seconds: float = 1_800.0) -> None:
        """Wait until so many documents of a collection are indexed."""
        deadline = time.monotonic() + seconds
        while (found := self.statuses(collection)).get("indexed", 0) < documents:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{documents} documents of {collection} not indexed within {seconds:g} s: {found}")
            missing = documents - found.get("indexed", 0)
            time.sleep(min(LONGEST_LOOK_SECONDS, max(LOOK_SECONDS, missing / DOCUMENTS_PER_SECOND_AT_MOST)))


def run_client(module: str, *arguments: str, seconds: float = ENDED_SECONDS) -> dict[str, Any]:
    """Run a client or a yardstick of the bench in a process of its own and return its figures."""
    return result_of(begin(f"bench.{module}", *arguments), seconds)


@contextmanager
def helper(module: str, *arguments: str) -> Iterator["Helper"]:
    """Run a server of the bench in a process of its own, until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.load.bench.{module}", *arguments],
        cwd=PROJECT,
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Helper(process, _line(process))
    finally:
        process.communicate(timeout=60)


@dataclass(frozen=True)
class Helper:
    """A server beside the platform; `url` is what it said first."""

    process: subprocess.Popen[str]
    url: str

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one line and return the object that answers it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(_line(self.process))
        return found


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without a word")
    return line
