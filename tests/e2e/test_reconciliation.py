"""Database and index after somebody meddled with one of them, and a collection deleted while processes die."""

import asyncio
import json
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from contracts.chunks import chunk_id
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from shared import models
from tests.contract.vector_indexes import points, vector
from tests.platform_process import RunningPlatform, rag, running_platform, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TENANT = "default"
DIMENSION = 384
OLD = 40
LONG = "\n\n".join(f"Lock {n} of the canal lifts ships by {n + 3} metres. " * 12 for n in range(6))


def document(name: str, text: str | None = None, collection: str = "default") -> dict[str, str]:
    return {"id": name, "collection": collection, "text": text or f"The light of {name} turns every {len(name)} s."}


def send(url: str, *documents: dict[str, str]) -> dict[str, int]:
    """Send documents and wait until they are indexed; return their revisions."""
    reply = httpx.post(f"{url}/v1/documents", json={"documents": documents}, params={"wait_s": 60}, timeout=90)
    receipts = reply.json()["documents"]
    assert [each["status"] for each in receipts] == ["indexed"] * len(documents), receipts
    return {each["id"]: each["revision"] for each in receipts}


def status_of(url: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/v1/documents/{name}", timeout=30).json()
    return found


def counts(url: str) -> tuple[int, int]:
    """Return the number of chunks that the database and the index have, once both say it."""

    def told() -> tuple[int, int] | None:
        services = httpx.get(f"{url}/health/detailed", timeout=30).json()["services"]
        checks = {"persistence": "database", "retriever": "index"}
        found = [
            replica["details"].get(check, {}).get("chunks")
            for name, check in checks.items()
            for replica in services[name]["replicas"][:1]
        ]
        return (found[0], found[1]) if len(found) == 2 and None not in found else None

    both: tuple[int, int] = wait_until(told, "persistence and retriever say how many chunks they have")
    return both


async def damage(folder: Path, revisions: dict[str, int]) -> None:
    """Plant points that nobody knows, and take others away."""
    model = models.fingerprint(models.EMBEDDING_MODEL)
    index = await QdrantEdgeIndex.open(folder, dimension=DIMENSION, fingerprint=model)
    try:
        long = {"tenant": TENANT, "vector": vector_of(DIMENSION)}
        await index.upsert(points("nobody", 1, 3, **long))
        await index.upsert(points("updated", revisions["updated"] - 1, 2, **long))
        await index.remove_revision(TENANT, "gone", revisions["gone"])
        first = chunk_id(TENANT, "half", revisions["half"], 0)
        kept = await index.chunks([first])
        await index.remove_revision(TENANT, "half", revisions["half"])
        await index.upsert(kept)
    finally:
        await index.close()


def vector_of(dimension: int) -> Any:
    return vector().repeat(dimension // 16)


@pytest.mark.extended
def test_the_doctor_makes_database_and_index_agree(tmp_path: Path) -> None:
    """INVARIANT: nothing is left behind; what differs is found, repaired, and the counts agree."""
    data = tmp_path / "data"
    with running_platform(data) as platform:
        names = ("first", "updated", "gone", "kept")
        send(platform.url, *(document(name) for name in names))
        revisions = send(platform.url, document("updated"), document("gone"), document("half", LONG))
    asyncio.run(damage(data / "index", revisions))
    with running_platform(data) as platform:
        assert len(set(counts(platform.url))) == 2
        told = rag("doctor", "--reconcile", "--json", url=platform.url)
        found = json.loads(told.stdout)
        assert found["counts"] == {"orphan": {"repaired": 2}, "lost": {"send_again": 2}}, told.stdout
        assert told.returncode == 1
        assert len(set(counts(platform.url))) == 1
        half, gone = status_of(platform.url, "half"), status_of(platform.url, "gone")
        assert (half["status"], half["error"]["code"]) == ("failed", "index_incomplete")
        assert (half["chunks"]["indexed"], gone["chunks"]["indexed"]) == (1, 0)
        assert status_of(platform.url, "kept")["status"] == "indexed"
        again = rag("doctor", "--reconcile", url=platform.url)
        assert (again.returncode, "Database and index agree." in again.stdout) == (0, True), again.stdout
        send(platform.url, document("gone"), document("half", LONG))
        wait_until(lambda: len(set(counts(platform.url))) == 1, "what was sent again is complete")
        assert rag("doctor", "--json", url=platform.url).returncode == 0


def found_in(url: str, query: str) -> set[str]:
    reply = httpx.post(f"{url}/v1/search", json={"query": query, "top_k": 100}, timeout=60)
    return {hit["document_id"] for hit in reply.json()["hits"]} if reply.status_code == 200 else set()


def listed(url: str, collection: str) -> list[dict[str, Any]]:
    """Return every document of a collection; nothing is an answer only while persistence answers."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        params: dict[str, str | int] = {
            "collection": collection,
            "limit": 500,
            **({"cursor": cursor} if cursor else {}),
        }
        reply = httpx.get(f"{url}/v1/documents", params=params, timeout=30)
        if reply.status_code != 200:
            return [{"id": "?", "status": "unknown"}]
        page = reply.json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items


def kill(platform: RunningPlatform, service: str) -> None:
    """Kill the process that runs a service now, whichever it is."""
    for process in platform.processes():
        try:
            if f"services.{service}.app" in process.cmdline():
                process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


class Producer(threading.Thread):
    """Sends documents into a collection without a pause; `accepted` has the revision of each."""

    def __init__(self, url: str, collection: str) -> None:
        super().__init__()
        self.accepted: dict[str, int] = {}
        self._url = url
        self._collection = collection
        self._stopped = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stopped.is_set():
            batch = [document(f"late{number + n}", collection=self._collection) for n in range(10)]
            reply = httpx.post(f"{self._url}/v1/documents", json={"documents": batch}, timeout=60)
            if reply.status_code == 202:
                self.accepted |= {each["id"]: each["revision"] for each in reply.json()["documents"]}
                number += 10
            self._stopped.wait(0.1)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.mark.extended
def test_a_collection_is_deleted_while_it_is_loaded_and_processes_die(tmp_path: Path) -> None:
    """INVARIANT: accepted is durable, the later write wins, deleted is gone.

    Every document with a revision below that of the delete ends deleted, every later one is indexed, and from the
    answer on no search shows one of the former.
    """
    with running_platform(tmp_path / "data") as platform:
        url = platform.url
        send(url, *(document(f"old{n}", collection="harbour") for n in range(OLD)))
        send(url, document("other", collection="else"))
        producer = Producer(url, "harbour")
        producer.start()
        wait_until(lambda: len(producer.accepted) >= 20, "documents are on their way")
        reply = httpx.delete(f"{url}/v1/collections/harbour", timeout=30)
        assert reply.status_code == 202, reply.text
        floor = reply.json()["revision"]
        assert reply.json() == {"name": "harbour", "revision": floor, "status": "deleted"}
        kill(platform, "persistence")
        shown = found_in(url, "light")
        kill(platform, "retriever")
        wait_until(lambda: max(producer.accepted.values(), default=0) > floor + 10, "documents came after the delete")
        producer.stop()
        early = {name for name, revision in producer.accepted.items() if revision < floor}
        late = producer.accepted.keys() - early
        gone = early | {f"old{n}" for n in range(OLD)}
        assert late
        assert not shown & gone

        def settled() -> bool:
            found = listed(url, "harbour")
            assert not found_in(url, "light") & gone
            return {each["id"]: each["status"] for each in found} == dict.fromkeys(late, "indexed")

        wait_until(settled, "only what came after the delete is there", 90)
        assert {status_of(url, name)["status"] for name in gone} == {"deleted"}
        assert {status_of(url, name)["revision"] for name in gone} == {floor}
        wait_until(lambda: len(set(counts(url))) == 1, "index and database agree")
        told = rag("doctor", "--reconcile", "--json", url=url)
        assert (told.returncode, json.loads(told.stdout)["counts"]) == (0, {}), told.stdout
        assert "other" in found_in(url, "light")
