"""The drill of docs/backup.md: a platform is backed up, its machine is lost, and another one goes on where it stood."""

import base64
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.platform_broker import publish, put_object
from tests.platform_process import RunningPlatform, rag, running_platform, wait_until

pytestmark = [pytest.mark.extended, pytest.mark.slow, pytest.mark.timeout(420)]

TIDES = {
    "id": "tides",
    "collection": "harbour",
    "text": "The tide tables lie in a green cabinet of the harbour master.",
}
LAMPS = {"id": "lamps", "collection": "harbour", "text": "The lamp of the lighthouse turns once in eleven seconds."}
GULLS = {"id": "gulls", "collection": "harbour", "text": "Gulls nest on the roof of the fish market."}
QUAY = {"id": "quay", "collection": "harbour", "text": "The old quay was built of oak."}
QUAY_NOW = {**QUAY, "text": "The old quay was built anew, of granite."}
MILL = {"id": "mill", "collection": "inland", "text": "The mill at the weir grinds rye on Mondays."}
THEIRS = {"id": "tides", "collection": "harbour", "text": "Acme keeps its tide tables in a red drawer."}
TORN = {
    "id": "torn",
    "content": base64.b64encode(b"%PDF-1.7 and then nothing").decode(),
    "media_type": "application/pdf",
}
LAMPS_LATER = {**LAMPS, "text": "The lamp of the lighthouse turns once in nine seconds now."}
LATER = {"id": "wharf", "collection": "harbour", "text": "The new wharf has three cranes."}
QUEUED = 8
QUESTIONS = (
    "Where are the tide tables?",
    "How fast does the lamp turn?",
    "What is the quay built of?",
    "Where do gulls nest?",
)


@dataclass
class Tenant:
    """One tenant's way to the platform."""

    api: httpx.Client
    platform: RunningPlatform
    key: str

    def told(self, *arguments: str) -> Any:
        done = rag(*arguments, "--json", url=self.platform.url, settings={"RAG_API_KEY": self.key})
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def send(self, *documents: dict[str, str]) -> dict[str, int]:
        """Return the revisions of documents that were accepted."""
        reply = self.api.post("/v1/documents", json={"documents": documents})
        assert reply.status_code == 202, reply.text
        return {each["id"]: each["revision"] for each in reply.json()["documents"]}

    def load(self, *documents: dict[str, str], until: str = "indexed") -> int:
        """Return the lowest revision of documents that were accepted, once all are in a state."""
        revisions = self.send(*documents)

        def reached() -> bool:
            found = [self.document(name) for name in revisions]
            return all((one["status"], one.get("revision")) == (until, revisions[one["id"]]) for one in found)

        wait_until(reached, f"{sorted(revisions)} are {until}", 120)
        return min(revisions.values())

    def delete(self, name: str) -> None:
        assert self.api.delete(f"/v1/documents/{name}", params={"wait_s": 30}).status_code == 202

    def hits(self, query: str, collection: str) -> list[tuple[str, str, float]]:
        body = {"query": query, "collection": collection, "mode": "dense"}
        reply = self.api.post("/v1/search", json=body)
        assert reply.status_code == 200, reply.text
        return [(hit["document_id"], hit["text"], round(hit["score"], 5)) for hit in reply.json()["hits"]]

    def harbour(self) -> dict[str, list[tuple[str, str, float]]]:
        return {question: self.hits(question, "harbour") for question in QUESTIONS}

    def document(self, name: str) -> dict[str, Any]:
        reply = self.api.get(f"/v1/documents/{name}")
        found: dict[str, Any] = {"id": name, "status": "unknown"} if reply.status_code == 404 else reply.json()
        return found

    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.told("documents", "--limit", "500")["items"]
        return found


@contextmanager
def platform_of(data: Path, *keys: str) -> Iterator[tuple[RunningPlatform, list[Tenant]]]:
    """Run a platform that knows its callers."""
    with running_platform(data, RAG_AUTH="keys") as platform:
        clients = [
            httpx.Client(base_url=platform.url, timeout=90, headers={"Authorization": f"Bearer {key}"}) for key in keys
        ]
        try:
            yield platform, [Tenant(client, platform, key) for client, key in zip(clients, keys, strict=True)]
        finally:
            for client in clients:
                client.close()


def new_key(data: Path, *arguments: str) -> str:
    made = rag("keys", "create", "--data", str(data), *arguments, "--json")
    assert made.returncode == 0, made.stderr
    key: str = json.loads(made.stdout)["key"]
    return key


def queued(number: int) -> dict[str, str]:
    paragraphs = (f"Entry {number}, page {page}: the wind came from the west all day. " * 14 for page in range(3))
    return {"id": f"log{number}", "collection": "queued", "text": "\n\n".join(paragraphs)}


def states(data: Path) -> Counter[str]:
    """Return how many documents of the queue are in which state, as a stopped platform has them."""
    with closing(sqlite3.connect(data / "rag.db")) as database:
        return Counter(
            status for (status,) in database.execute("SELECT status FROM documents WHERE collection = 'queued'")
        )


def reconciled(tenant: Tenant) -> dict[str, Any]:
    """Return what a comparison without differences saw."""
    found: dict[str, Any] = tenant.told("doctor", "--reconcile")
    assert (found["repaired"], found["counts"]) == (True, {}), found
    return found


def test_a_lost_machine_is_made_good_from_its_backup(tmp_path: Path) -> None:
    """INVARIANT: what was accepted before the backup is there after it was restored, once, and goes on to its end."""
    lost, new, file = tmp_path / "lost", tmp_path / "new" / "data", tmp_path / "rag.backup"
    keys = (new_key(lost, "--scopes", "ingest,query,admin"), new_key(lost, "--tenant", "acme"))
    with platform_of(lost, *keys) as (platform, (ours, theirs)):
        ours.load(TIDES, LAMPS, GULLS, QUAY, MILL)
        theirs.load(THEIRS)
        ours.load(QUAY_NOW)
        ours.load(TORN, until="failed")
        ours.delete("gulls")
        talk = ours.told("ask", QUESTIONS[0], "--collection", "harbour", "--conversation", "new")["conversation_id"]
        revoked = ours.told("keys", "create", "--name", "lost laptop")
        ours.told("keys", "revoke", revoked["id"])
        before, talks = ours.harbour(), ours.told("conversations", "show", talk)
        letters = wait_until(lambda: ours.told("dead-letters", "list")["items"], "the letter is listed")
        refused = rag("backup", str(file), "--data", str(lost))
        assert (refused.returncode, "another `rag up` uses" in refused.stderr) == (1, True), refused.stderr

        # So that nothing of the queue is done, however fast the machine is.
        psutil.Process(platform.ready["pids"]["embedder"]).suspend()
        ours.send(*(queued(number) for number in range(QUEUED)))
        put_object(platform, "log-upload", queued(QUEUED)["text"].encode())
        upload = {"id": "upload", "collection": "queued", "object": "log-upload", "media_type": "text/plain"}
        publish(platform, upload)
        platform.kill_everything()
    made = rag("backup", str(file), "--data", str(lost), "--json")
    assert made.returncode == 0, made.stderr
    moment = json.loads(made.stdout)["made_at"]
    assert states(lost)["indexed"] == 0, "what was queued is done already"

    with platform_of(lost, *keys) as (_, (ours, _)):
        ours.delete("mill")
        ours.load(LAMPS_LATER, LATER)
        since = ("audit", "--action", "deleted", "--since", moment)
        deleted = wait_until(lambda: ours.told(*since)["items"], "the delete is in the audit")
    shutil.rmtree(lost)

    restored = rag("restore", str(file), "--data", str(new))
    assert restored.returncode == 0, restored.stderr
    with platform_of(new, *keys) as (_, (ours, theirs)):
        assert ours.harbour() == before
        assert [name for name, _, _ in theirs.hits(QUESTIONS[0], "harbour")] == ["tides"]
        assert (
            httpx.get(
                f"{ours.platform.url}/v1/documents", headers={"Authorization": f"Bearer {revoked['key']}"}
            ).status_code
            == 401
        )
        assert ours.told("conversations", "show", talk) == talks
        assert ours.told("dead-letters", "list")["items"] == letters
        assert {name: ours.document(name)["status"] for name in ("gulls", "torn", "mill", "wharf")} == {
            "gulls": "deleted",
            "torn": "failed",
            "mill": "indexed",
            "wharf": "unknown",
        }

        def worked_off() -> bool:
            found = [one["status"] for one in ours.documents() if one["collection"] == "queued"]
            return found == ["indexed"] * (QUEUED + 1)

        wait_until(worked_off, "what was queued is indexed", 120)
        shown = ours.documents()
        chunks = sum(one["chunks"]["indexed"] for one in (*shown, theirs.document("tides")))
        assert reconciled(ours)["points"] == chunks, "something is there twice"

        for entry in deleted:
            ours.delete(entry["target"]["document_id"])
        assert ours.load(LAMPS_LATER, LATER) > max(one["revision"] for one in shown)
        assert "nine seconds" in ours.hits(QUESTIONS[1], "harbour")[0][1]
        assert ours.hits("What does the mill grind?", "inland") == []
        reconciled(ours)
