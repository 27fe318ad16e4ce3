"""Another embedding model, while people search, load and delete."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from contracts import subjects
from contracts.codec import decode, encode
from contracts.retrieval import RetrieveReply, RetrieveRequest
from services.cli.errors import EXIT_INTERRUPTED
from tests.broker_asking import connected
from tests.hashing_server import DIMENSION, MODEL, HashingServer, hashing_server
from tests.platform_process import PROJECT, RunningPlatform, rag, running_platform, start_platform, wait_until
from tests.servers import child_environment

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.timeout(300)]

STABLE = 120
DELETED = 20
NEW_FINGERPRINT = f"{MODEL}@remote.{DIMENSION}"
OLD_NAME = "bge-small-en-v1.5-int8"
_SYLLABLES = ("ba", "ke", "li", "mo", "ru", "sa", "du", "vo", "wi", "zu")


def name_of(number: int) -> str:
    return "".join(_SYLLABLES[int(digit)] for digit in f"{number:04d}").capitalize()


def text_of(number: int) -> str:
    return f"The village of {name_of(number)} lies {number} miles up the river and is known for its {name_of(number)}."


def document(number: int, prefix: str) -> dict[str, Any]:
    return {"id": f"{prefix}{number}", "title": f"Village {name_of(number)}", "text": text_of(number)}


def send(url: str, documents: list[dict[str, Any]]) -> None:
    reply = httpx.post(f"{url}/v1/documents", json={"documents": documents}, params={"wait_s": 30}, timeout=60)
    assert reply.status_code in (200, 201, 202), reply.text
    for receipt in reply.json()["documents"]:
        assert receipt["status"] == "indexed", receipt


def found(url: str, number: int) -> set[str]:
    reply = httpx.post(f"{url}/v1/search", json={"query": text_of(number), "top_k": 10}, timeout=30)
    assert reply.status_code == 200, reply.text
    return {hit["document_id"] for hit in reply.json()["hits"]}


def index_of(url: str) -> dict[str, Any]:
    services = httpx.get(f"{url}/health/detailed", timeout=30).json()["services"]
    index: dict[str, Any] = services["retriever"]["replicas"][0]["details"]["index"]
    return index


def model_of_a_reply(platform: RunningPlatform) -> str:
    async def ask() -> RetrieveReply:
        client = await connected(platform)
        try:
            request = encode(RetrieveRequest(tenant="default", query="village"))
            return decode(RetrieveReply, (await client.request(subjects.RETRIEVE, request, timeout=10)).data)
        finally:
            await client.close()

    return asyncio.run(ask()).model


@contextmanager
def meanwhile(*works: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run each work in a thread until the block ends; raise what any of them raised."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run(work: Callable[[threading.Event], None]) -> None:
        try:
            work(stop)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class Traffic:
    """What goes on during the switch; `searches` counts what was found as it must be."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.searches = 0
        self.loaded: list[int] = []
        self.deleted: list[str] = []

    def search(self, stop: threading.Event) -> None:
        while not stop.is_set():
            number = self.searches % STABLE
            gone = set(self.deleted)
            hits = found(self.url, number)
            assert f"stable{number}" in hits, f"search {self.searches} found {hits}"
            assert not hits & gone, f"search {self.searches} found deleted {hits & gone}"
            self.searches += 1

    def load_and_delete(self, stop: threading.Event) -> None:
        while not stop.is_set():
            number = 1_000 + len(self.loaded)
            send(self.url, [document(number, "late")])
            self.loaded.append(number)
            if len(self.deleted) < DELETED:
                gone = f"gone{len(self.deleted)}"
                assert httpx.delete(f"{self.url}/v1/documents/{gone}", timeout=30).is_success
                self.deleted.append(gone)


def next_settings(server: HashingServer) -> dict[str, str]:
    return {
        "RAG_NEXT_EMBEDDING_MODEL": MODEL,
        "RAG_NEXT_EMBEDDING_DIMENSION": str(DIMENSION),
        "RAG_NEXT_EMBEDDING_URL": server.url,
    }


def new_settings(server: HashingServer) -> dict[str, str]:
    return {name.replace("_NEXT", ""): value for name, value in next_settings(server).items()}


def load_first_documents(data: Path) -> None:
    with running_platform(data) as platform:
        send(platform.url, [document(number, "stable") for number in range(100)])
        send(platform.url, [document(number, "stable") for number in range(100, STABLE)])
        send(platform.url, [document(number, "gone") for number in range(DELETED)])
        refused = rag("reindex", url=platform.url)
        assert refused.returncode == 1
        assert "no next model is configured" in refused.stderr
        assert "RAG_NEXT_EMBEDDING_MODEL" in refused.stderr


def test_searches_switch_to_another_model_without_a_gap(tmp_path: Path) -> None:
    """INVARIANT: no search fails or misses a document, no delete comes back, whatever happens during the switch."""
    data = tmp_path / "data"
    load_first_documents(data)
    with hashing_server() as server:
        with running_platform(data, **next_settings(server)) as platform:
            # Long enough for a good part of the traffic to fall into the copy.
            server.pause_seconds = 0.25
            traffic = Traffic(platform.url)
            with meanwhile(traffic.search, traffic.load_and_delete):
                wait_until(lambda: traffic.searches > 5 and len(traffic.loaded) > 2, "there is traffic")
                told = rag("reindex", "--json", url=platform.url)
                assert told.returncode == 0, told.stderr
                server.pause_seconds = 0.0
                until = traffic.searches + STABLE
                wait_until(lambda: traffic.searches > until, "every document is found after the switch", 60)
            check_switched(platform, traffic, [json.loads(line) for line in told.stdout.splitlines()])
        check_new_model_alone(data, server, traffic)
        check_old_model_is_refused(data)


def test_a_reindexing_that_is_interrupted_and_a_retriever_that_dies_lose_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_platform(data) as platform:
        send(platform.url, [document(number, "stable") for number in range(100)])
    with hashing_server() as server, running_platform(data, **next_settings(server)) as platform:
        server.pause_seconds = 3.0
        interrupted = subprocess.Popen(
            [sys.executable, "-m", "services.cli.main", "reindex", "--url", platform.url],
            cwd=PROJECT,
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: index_of(platform.url)["next"]["chunks"] > 0, "something is copied")
        interrupted.send_signal(signal.SIGINT)
        assert interrupted.wait(timeout=30) == EXIT_INTERRUPTED
        assert model_of_a_reply(platform) != NEW_FINGERPRINT
        server.pause_seconds = 0.0
        psutil.Process(platform.ready["pids"]["retriever"]).kill()

        told = rag("reindex", url=platform.url)

        assert told.returncode == 0, told.stderr
        assert model_of_a_reply(platform) == NEW_FINGERPRINT
        for number in range(0, 100, 7):
            assert f"stable{number}" in found(platform.url, number)


def check_switched(platform: RunningPlatform, traffic: Traffic, events: list[dict[str, Any]]) -> None:
    assert [event["event"] for event in events][-1] == "done"
    assert events[-1]["configure"].startswith(f"RAG_EMBEDDING_MODEL={MODEL} RAG_EMBEDDING_DIMENSION={DIMENSION} ")
    assert sum(event.get("copied", 0) for event in events) >= STABLE
    assert model_of_a_reply(platform) == NEW_FINGERPRINT
    assert len(traffic.deleted) == DELETED
    for number in traffic.loaded:
        assert f"late{number}" in found(platform.url, number)
    again = rag("reindex", url=platform.url)
    assert again.returncode == 1
    assert f"{NEW_FINGERPRINT} is active already" in again.stderr
    examined = json.loads(rag("doctor", "--json", url=platform.url).stdout)
    checks = {check["check"]: check for check in examined["checks"]}
    assert (checks["counts"]["verdict"], checks["model"]["verdict"]) == ("good", "good"), checks
    assert NEW_FINGERPRINT in rag("status", url=platform.url).stdout


def check_new_model_alone(data: Path, server: HashingServer, traffic: Traffic) -> None:
    with running_platform(data, **new_settings(server)) as platform:
        assert index_of(platform.url)["model"] == NEW_FINGERPRINT
        assert index_of(platform.url)["chunks"] == STABLE + len(traffic.loaded)
        for number in range(0, STABLE, 10):
            hits = found(platform.url, number)
            assert f"stable{number}" in hits
            assert not hits & set(traffic.deleted)
        send(platform.url, [document(5_000, "last")])
        assert "last5000" in found(platform.url, 5_000)
    assert not (data / "index").exists()


def check_old_model_is_refused(data: Path) -> None:
    with pytest.raises(RuntimeError, match=rf"{NEW_FINGERPRINT}.*{OLD_NAME}.*RAG_NEXT_EMBEDDING_MODEL.*`rag reindex`"):
        start_platform(data)
