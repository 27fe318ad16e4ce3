"""PostgreSQL is restored from an older dump while broker and index are newer: what docs/backup.md says of it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_process import rag, running_platform, wait_until
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.extended, pytest.mark.slow, pytest.mark.timeout(420)]

KEPT = {"id": "kept", "text": "The lighthouse lamp turns once in eleven seconds."}
CHANGED = {"id": "changed", "text": "The tide tables lie in a green cabinet."}
CHANGED_LATER = {**CHANGED, "text": "The tide tables hang beside the door."}
DELETED = {"id": "deleted", "text": "Gulls nest on the roof of the fish market."}
ADDED = {"id": "added", "text": "The new wharf has three cranes."}
QUESTIONS = (
    "Where are the tide tables?",
    "Where do gulls nest?",
    "How many cranes has the wharf?",
    "How does the lamp turn?",
)


def run(server: PostgresServer, program: str, *arguments: str, stdin: bytes | None = None) -> bytes:
    done = subprocess.run(
        [server.programs / program, f"--dbname={server.url}", *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        input=stdin,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def send(api: httpx.Client, *documents: dict[str, str]) -> None:
    reply = api.post("/v1/documents", json={"documents": documents}, params={"wait_s": 60})
    assert [each["status"] for each in reply.json()["documents"]] == ["indexed"] * len(documents), reply.text


def found(api: httpx.Client) -> set[str]:
    """Return the texts that searches show."""
    hits: list[dict[str, Any]] = []
    for question in QUESTIONS:
        reply = api.post("/v1/search", json={"query": question, "top_k": 10})
        assert reply.status_code == 200, reply.text
        hits += reply.json()["hits"]
    return {hit["text"] for hit in hits}


def states(api: httpx.Client) -> dict[str, str]:
    """Return the state of each document, of a failed one its code."""
    listed = api.get("/v1/documents").json()["items"]
    return {one["id"]: one["error"]["code"] if one["status"] == "failed" else one["status"] for one in listed}


def test_an_older_database_beside_a_newer_index_shows_nothing_that_was_deleted(
    server: PostgresServer, tmp_path: Path
) -> None:
    """INVARIANT: deleted is gone, also when the database that knew of it is; what differs is repaired or named."""
    data = tmp_path / "data"
    settings = {"RAG_DATABASE_URL": server.url, "RAG_PERSISTENCE_RECONCILE_INTERVAL_SECONDS": "0"}
    with running_platform(data, **settings) as platform, httpx.Client(base_url=platform.url, timeout=90) as api:
        send(api, KEPT, CHANGED, DELETED)
        # While the platform runs: a dump is of one moment.
        dump = run(server, "pg_dump", "--format=custom")
        send(api, CHANGED_LATER, ADDED)
        assert api.delete("/v1/documents/deleted", params={"wait_s": 30}).status_code == 202
        wait_until(lambda: states(api).get("deleted") in (None, "deleted"), "the delete is recorded")
    run(server, "pg_restore", "--clean", "--if-exists", "--single-transaction", stdin=dump)

    with running_platform(data, **settings) as platform, httpx.Client(base_url=platform.url, timeout=90) as api:
        assert states(api) == {"kept": "indexed", "changed": "indexed", "deleted": "indexed"}
        assert found(api) == {KEPT["text"], CHANGED_LATER["text"], ADDED["text"]}, "the index is as new as it was"

        compared = rag("doctor", "--reconcile", "--json", url=platform.url)
        told = json.loads(compared.stdout)
        assert compared.returncode == 1
        assert told["counts"] == {"orphan": {"repaired": 1}, "lost": {"send_again": 2}}, told
        assert states(api) == {"kept": "indexed", "changed": "index_incomplete", "deleted": "index_incomplete"}
        assert found(api) == {KEPT["text"], CHANGED_LATER["text"]}

        send(api, CHANGED_LATER, ADDED)
        assert api.delete("/v1/documents/deleted", params={"wait_s": 30}).status_code == 202
        assert found(api) == {KEPT["text"], CHANGED_LATER["text"], ADDED["text"]}
        compared = rag("doctor", "--reconcile", url=platform.url)
        assert (compared.returncode, "Database and index agree." in compared.stdout) == (0, True), compared.stdout
