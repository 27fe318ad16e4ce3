"""Documents in, cited answers out, through the real processes."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest

from contracts import subjects
from tests.broker_asking import connected
from tests.platform_process import PROJECT, RunningPlatform, wait_until
from tests.running import eventually

HTML = "<html><head><title>Ports</title></head><body><h1>Rotterdam</h1><p>{}</p><!--{}--></body></html>"


def upsert(api: httpx.Client, *documents: dict[str, Any], wait_s: int = 60) -> list[dict[str, Any]]:
    reply = api.post("/v1/documents", params={"wait_s": wait_s}, json={"documents": list(documents)})
    assert reply.status_code == 202, reply.text
    found: list[dict[str, Any]] = reply.json()["documents"]
    return found


def search(api: httpx.Client, query: str, **fields: Any) -> list[dict[str, Any]]:
    reply = api.post("/v1/search", json={"query": query, "mode": "dense", **fields})
    assert reply.status_code == 200, reply.text
    hits: list[dict[str, Any]] = reply.json()["hits"]
    return hits


def test_a_document_is_indexed_found_and_cited_word_for_word(api: httpx.Client) -> None:
    text = "The Erasmus Bridge in Rotterdam was opened in 1996. It is 802 metres long. Locals call it the Swan."
    document = {"id": "bridge", "collection": "answers", "title": "Erasmus Bridge", "text": text, "uri": "https://x/1"}
    assert upsert(api, document)[0]["status"] == "indexed"
    hit = search(api, "how long is the bridge in Rotterdam?", collection="answers")[0]
    assert (hit["document_id"], hit["title"], hit["uri"]) == ("bridge", "Erasmus Bridge", "https://x/1")
    assert hit["text"] in text
    body = {"question": "In which year was the Erasmus Bridge opened?", "collection": "answers"}
    answer = api.post("/v1/query", json=body).json()
    assert answer["answered"] is True
    assert "1996" in answer["answer"]
    citation = answer["citations"][0]
    assert citation["document_id"] == "bridge"
    assert citation["quote"] in text
    assert "1996" in citation["quote"]


def test_a_question_that_no_document_answers_is_not_answered(api: httpx.Client) -> None:
    upsert(api, {"id": "soup", "collection": "cooking", "text": "Onion soup needs an hour on a low flame."})
    reply = api.post("/v1/query", json={"question": "Who won the 1998 chess olympiad?", "collection": "cooking"}).json()
    assert reply["answered"] is False
    assert reply["citations"] == []


def test_an_update_replaces_and_a_delete_removes_what_a_search_shows(api: httpx.Client) -> None:
    """INVARIANT: the later write wins, and deleted is gone once the delete is answered."""
    first = upsert(api, {"id": "door", "collection": "updates", "text": "The code of the door is heron."})[0]
    second = upsert(api, {"id": "door", "collection": "updates", "text": "The code of the door is magpie."})[0]
    assert second["revision"] > first["revision"]
    assert [hit["text"] for hit in search(api, "code of the door", collection="updates")] == [
        "The code of the door is magpie."
    ]
    deleted = api.delete("/v1/documents/door")
    assert deleted.status_code == 202
    assert all("door" not in hit["document_id"] for hit in search(api, "code of the door"))
    wait_until(lambda: api.get("/v1/documents/door").json()["status"] == "deleted", "the document is deleted")
    again = upsert(api, {"id": "door", "collection": "updates", "text": "The code of the door is wren."})[0]
    assert again["status"] == "indexed"
    assert "wren" in search(api, "code of the door", collection="updates")[0]["text"]


def test_the_readme_s_script_ingests_over_nats_without_anything_of_ours(
    platform: RunningPlatform, api: httpx.Client, tmp_path: Path
) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "nats.connect" in block)
    assert "contracts" not in block
    script = tmp_path / "ingest.py"
    script.write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", str(script), platform.nats_url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"accepted as revision \d+\n", done.stdout)
    wait_until(lambda: api.get("/v1/documents/mars").json().get("status") == "indexed", "the document is indexed")
    answer = api.post("/v1/query", json={"question": "Which moons does Mars have?"}).json()
    assert "Phobos" in answer["answer"]


async def test_what_breaks_the_schema_on_the_subject_is_visible_and_blocks_nothing(
    platform: RunningPlatform, api: httpx.Client
) -> None:
    """INVARIANT: nothing poisons the queue, and a failure with a name is shown under that name."""
    client = await nats.connect(platform.nats_url)
    jetstream = client.jetstream()
    subject = subjects.ingest("default")
    for payload in (
        b"this is not JSON",
        json.dumps({"id": "broken-metadata", "text": "x", "metadata": {"a": {}}}).encode(),
        json.dumps({"id": "broken-base64", "content": "%%%", "media_type": "text/plain"}).encode(),
        json.dumps({"id": "unknown-type", "content": "AAECAwQ=", "media_type": "application/x-nonsense"}).encode(),
        json.dumps({"id": "far-away", "uri": "https://docs.example/a"}).encode(),
        json.dumps({"id": "right-behind", "text": "A heron stands in the reeds."}).encode(),
    ):
        await jetstream.publish(subject, payload)
    await client.close()

    def document(name: str) -> dict[str, Any]:
        found: dict[str, Any] = api.get(f"/v1/documents/{name}").json()
        return found

    wait_until(lambda: document("right-behind").get("status") == "indexed", "the good one is indexed", 10)
    for name, code, words in (
        ("broken-metadata", "invalid_message", "metadata.a"),
        ("broken-base64", "invalid_message", "content"),
        ("unknown-type", "unsupported_type", "cannot be read"),
        ("far-away", "fetch_off", "RAG_FETCH_URLS=off"),
    ):
        failed = wait_until(lambda name=name: document(name).get("status") == "failed" and document(name), name)
        assert failed["error"]["code"] == code
        assert words in failed["error"]["message"]


def test_a_file_s_name_makes_no_file_anywhere(platform: RunningPlatform, api: httpx.Client, tmp_path: Path) -> None:
    """INVARIANT: what a file is called is text; no service opens, makes or removes anything of that name."""
    outside = tmp_path / "planted-outside.txt"
    outside.write_text("as it was")
    names = ("../../planted-up.txt", "..\\planted-back.txt", str(outside), "planted-here.txt")
    for name in names:
        files = {"files": (name, b"A name is no path.", "text/plain")}
        [receipt] = api.post("/v1/documents?wait_s=60", files=files, data={"collection": "names"}).json()["documents"]
        assert receipt["status"] == "indexed", receipt
        title = name.replace("\\", "/").rpartition("/")[2]
        [hit] = search(api, "a name is no path", collection="names")
        assert hit["title"] == title
    assert outside.read_text() == "as it was"
    near = (platform.data.parent, platform.data.parent.parent, PROJECT, PROJECT.parent, PROJECT.parent.parent)
    found = [*platform.data.rglob("planted-*"), *(path for folder in near for path in folder.glob("planted-*"))]
    assert found == []


async def test_twenty_megabytes_go_through_the_object_store(platform: RunningPlatform, api: httpx.Client) -> None:
    content = HTML.format("The port of Rotterdam handled the barge Leviathan.", "x" * 20_000_000)
    document = {
        "id": "huge",
        "collection": "huge",
        "content": base64.b64encode(content.encode()).decode(),
        "media_type": "text/html",
    }
    assert upsert(api, document)[0]["status"] == "indexed"
    hit = search(api, "which barge was handled?", collection="huge")[0]
    assert "Leviathan" in hit["text"]
    assert "Rotterdam" in json.dumps(hit)
    client = await connected(platform)
    try:
        store = client.jetstream()

        async def removed() -> bool:
            return (await store.stream_info(f"OBJ_{subjects.UPLOADS_BUCKET}")).state.bytes < 1_000_000

        await eventually(removed, "the upload is removed after indexing")
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/v1/documents", b"{not json", 400, None),
        ("/v1/documents", {"documents": []}, 422, "documents"),
        ("/v1/documents", {"documents": [{"id": "", "text": "x"}]}, 422, "documents.0.id"),
        ("/v1/documents", {"documents": [{"id": "i" * 257, "text": "x"}]}, 422, "documents.0.id"),
        ("/v1/documents", {"documents": [{"content": "??", "media_type": "text/plain"}]}, 422, "documents.0.content"),
        ("/v1/documents", {"documents": [{"text": "x", "collection": "a b"}]}, 422, "documents.0.collection"),
        ("/v1/search", {"query": "x", "collection": "nobody-made-this"}, 404, "collection"),
        ("/v1/query", {"question": "x", "collection": "nobody-made-this"}, 404, "collection"),
        ("/v1/search", {"query": ""}, 422, "query"),
    ],
)
def test_bad_input_gets_a_problem_that_names_the_field(
    api: httpx.Client, path: str, body: Any, status: int, field: str | None
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = api.post(path, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"]
    assert problem["trace_id"] == reply.headers["X-Trace-Id"]
    if field is not None:
        assert field in json.dumps(problem)


def test_the_platform_reports_every_service_as_ready(api: httpx.Client, platform: RunningPlatform) -> None:
    health = api.get("/health/detailed").json()
    assert health["status"] == "ok"
    assert set(health["services"]) == {"gateway", "parser", "embedder", "retriever", "agent", "persistence"}
    ready = {name: service["ready"] for name, service in health["services"].items()}
    assert ready == {**dict.fromkeys(ready, 1), "embedder": 2}
    assert health["broker"]["url"] == platform.nats_url
    assert platform.ready["seconds"] < 30
