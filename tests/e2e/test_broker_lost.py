"""The drill of docs/operations.md: the broker's store is gone, and everything else is there."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_process import rag, running_platform, wait_until

OLD = {"id": "tides", "text": "The harbour master keeps the tide tables in a green cabinet."}
GOES = {"id": "gulls", "text": "Gulls nest on the roof of the fish market."}
STAYS = {"id": "lamps", "text": "The lighthouse lamp turns once in eleven seconds."}


def send(api: httpx.Client, *documents: dict[str, str]) -> list[dict[str, Any]]:
    reply = api.post("/v1/documents", json={"documents": documents}, params={"wait_s": 60})
    assert reply.status_code == 202, reply.text
    found: list[dict[str, Any]] = reply.json()["documents"]
    assert [each["status"] for each in found] == ["indexed"] * len(documents)
    return found


def texts(api: httpx.Client, query: str) -> str:
    reply = api.post("/v1/search", json={"query": query})
    assert reply.status_code == 200, reply.text
    return " ".join(hit["text"] for hit in reply.json()["hits"])


def statuses(api: httpx.Client, names: list[str]) -> dict[str, str]:
    """Return the state of documents; one that fails with its error's code."""
    found: dict[str, str] = {}
    for name in names:
        reply = api.get(f"/v1/documents/{name}")
        if reply.status_code == 404:
            found[name] = "unknown"
            continue
        view = reply.json()
        found[name] = view["error"]["code"] if view["status"] == "failed" else view["status"]
    return found


@pytest.mark.extended
@pytest.mark.timeout(240)
def test_a_platform_goes_on_without_its_brokers_store(tmp_path: Path) -> None:
    """INVARIANT: the later write wins, also when INGEST had to be made anew; what was under way is told of."""
    under_way = [{"id": f"log{number}", "text": f"Entry {number} of the harbour log. " * 40} for number in range(90)]
    names = [each["id"] for each in under_way]
    with running_platform(tmp_path) as platform, httpx.Client(base_url=platform.url, timeout=90) as api:
        before = max(each["revision"] for each in send(api, OLD, GOES, STAYS))
        assert api.post("/v1/documents", json={"documents": under_way}).status_code == 202
        wait_until(lambda: "indexed" in statuses(api, names).values(), "some of it is indexed")
        platform.kill_everything()
    shutil.rmtree(tmp_path / "nats" / "jetstream")

    with running_platform(tmp_path) as platform, httpx.Client(base_url=platform.url, timeout=90) as api:
        assert "eleven seconds" in texts(api, "How fast does the lighthouse lamp turn?")
        (updated,) = send(api, {**OLD, "text": "The tide tables hang beside the door of the harbour office."})
        assert updated["revision"] > before
        assert "beside the door" in texts(api, "Where are the tide tables?")
        assert "green cabinet" not in texts(api, "Where are the tide tables?")
        assert api.delete("/v1/documents/gulls", params={"wait_s": 30}).status_code == 202
        assert "roof" not in texts(api, "Where do gulls nest?")

        assert rag("doctor", "--reconcile", url=platform.url).returncode == 1, "something is left for a person"
        after = statuses(api, names)
        assert set(after.values()) >= {"indexed", "message_lost"}, "the kill came while work was under way"
        assert set(after.values()) <= {"indexed", "message_lost", "unknown"}
        send(api, *(each for each in under_way if after[each["id"]] != "indexed"))
        compared = rag("doctor", "--reconcile", url=platform.url)
        assert compared.returncode == 0, compared.stdout + compared.stderr
        assert set(statuses(api, names).values()) == {"indexed"}
        examined = rag("doctor", "--data", str(tmp_path), url=platform.url)
        assert examined.returncode == 0, examined.stdout + examined.stderr
