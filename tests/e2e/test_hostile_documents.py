"""Hostile files through the running platform: each costs itself alone."""

import base64
import csv
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_process import PROJECT, RunningPlatform, wait_until

DOCUMENTS = PROJECT.parent / "shared" / "data" / "documents"
COLLECTION = "hostile"
TERMINAL = {"indexed", "failed"}
MOST_SECONDS = 60.0
MOST_SECONDS_BEHIND = 5.0

pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="the folder of documents is not here"),
]


def hostile_rows() -> list[dict[str, str]]:
    with (DOCUMENTS / "files.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == "hostile"]


def send(api: httpx.Client, document: dict[str, Any]) -> None:
    reply = api.post("/v1/documents", json={"documents": [{"collection": COLLECTION, **document}]})
    assert reply.status_code == 202, reply.text


def end_of(api: httpx.Client, document_id: str, path: Path, seconds: float) -> dict[str, Any]:
    """Return the document's state once it is terminal, which must be in time."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get(f"/v1/documents/{document_id}").json()
        return found if found["status"] in TERMINAL else None

    found: dict[str, Any] = wait_until(ended, f"{path}: {document_id} has ended", seconds)
    return found


def allowed(expected: str) -> set[str]:
    if expected.startswith("reject-needs"):
        return {"failed"}
    return {"indexed"} if expected == "ingest" else TERMINAL


def pids(platform: RunningPlatform) -> set[int]:
    """The launcher, the broker and the services; children of the parser may be replaced."""
    launcher = platform.processes()[0]
    return {launcher.pid, *(child.pid for child in launcher.children())}


@pytest.mark.timeout(600)
def test_each_hostile_file_ends_and_holds_up_nothing(platform: RunningPlatform, api: httpx.Client) -> None:
    """INVARIANT: nothing poisons the queue; no service falls, and what stands behind is indexed at once."""
    before = pids(platform)
    for number, row in enumerate(hostile_rows()):
        path = Path(row["path"])
        content = base64.b64encode((DOCUMENTS / path).read_bytes()).decode()
        bad, good = f"bad-{number}", f"good-{number}"
        send(api, {"id": bad, "content": content, "filename": path.name})
        send(api, {"id": good, "text": f"Behind {path.stem} stands a document that is sound."})
        assert end_of(api, good, path, MOST_SECONDS_BEHIND)["status"] == "indexed"
        end = end_of(api, bad, path, MOST_SECONDS)
        assert end["status"] in allowed(row["expect"]), (path, end)
        assert end["error"] is None or end["error"]["code"] not in ("crashed", "internal_error"), (path, end)
    assert pids(platform) == before
    assert not Path("/tmp/zz-zip-slip-was-here.txt").exists()
