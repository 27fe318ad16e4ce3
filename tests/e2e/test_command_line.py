"""The command line against the real platform."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.platform_process import RunningPlatform, rag, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of documents: good ones in three formats, one that can't be read."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "lock.md").write_text("# Lock\n\nThe lock of the canal opens at six in the morning.\n")
    (tmp_path / "notes" / "barge.txt").write_text("The barge Leviathan carries gravel to Basel.")
    (tmp_path / "page.html").write_text("<html><title>Crane</title><body><p>The crane lifts forty tons.</p></body>")
    (tmp_path / "broken.bin").write_bytes(bytes(range(256)) * 8)
    return tmp_path


def test_a_folder_is_ingested_and_what_can_t_be_read_is_named(platform: RunningPlatform, folder: Path) -> None:
    done = rag("ingest", str(folder), "--collection", "canal", url=platform.url)
    assert done.returncode == 1
    assert "3 indexed, 1 failed" in done.stdout
    assert "broken.bin" in done.stdout
    assert "unsupported_type" in done.stdout
    listed = json.loads(rag("documents", "--collection", "canal", "--json", url=platform.url).stdout)
    assert {item["id"]: item["status"] for item in listed["items"]} == {
        "notes/lock.md": "indexed",
        "notes/barge.txt": "indexed",
        "page.html": "indexed",
        "broken.bin": "failed",
    }


def _answered(asked: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str] | None:
    return asked if "[1]" in asked.stdout else None


def test_answers_and_hits_come_with_their_sources(platform: RunningPlatform, folder: Path) -> None:
    rag("ingest", str(folder), "--collection", "harbour", url=platform.url)
    question = ("ask", "When does the lock of the canal open?", "--collection", "harbour")
    # The documents may have been indexed in another collection before; they move a moment after `indexed`.
    asked = wait_until(lambda: _answered(rag(*question, url=platform.url)), "the documents are found here")
    assert "six in the morning" in asked.stdout
    assert "[1]" in asked.stdout
    found = rag("search", "what does the crane lift", "--collection", "harbour", "--json", url=platform.url)
    hits = json.loads(found.stdout)["hits"]
    assert hits[0]["document_id"] == "page.html"
    assert hits[0]["title"] == "Crane"


def test_status_says_where_the_broker_is(platform: RunningPlatform) -> None:
    status = json.loads(rag("status", "--json", url=platform.url).stdout)
    assert status["nats_url"] == platform.nats_url


def test_the_doctor_finds_nothing_wrong_with_a_healthy_platform(platform: RunningPlatform) -> None:
    done = rag("doctor", "--data", str(platform.data), url=platform.url)
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout
    assert "as declared" in done.stdout or "topology" in done.stdout


def test_without_a_gateway_every_command_says_what_to_do() -> None:
    done = rag("search", "x", url="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "rag up" in done.stderr
    assert done.stderr.count("\n") == 1
