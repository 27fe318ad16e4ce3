"""Dead letters through the running platform: found, understood, sent again once the cause is gone, discarded."""

import json
from typing import Any

import httpx

from tests.platform_broker import publish, put_object
from tests.platform_process import RunningPlatform, rag, wait_until

LETTERS = "/v1/admin/dead-letters"
TEXT = b"The lighthouse of Kiel was painted green in 1987."


def document_is(api: httpx.Client, document_id: str, status: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        found: dict[str, Any] = api.get(f"/v1/documents/{document_id}").json()
        return found if found.get("status") == status else None

    found: dict[str, Any] = wait_until(reached, f"{document_id} is {status}")
    return found


def letter_of(api: httpx.Client, document_id: str) -> dict[str, Any]:
    """Return the letter; a broken message fails its document a moment before its letter is recorded."""

    def found() -> list[dict[str, Any]]:
        return [item for item in api.get(LETTERS).json()["items"] if item["document_id"] == document_id]

    [letter] = wait_until(found, f"the letter of {document_id} is listed")
    return dict(letter)


def letters_of_parser(api: httpx.Client) -> int:
    stages = api.get("/v1/admin/pipeline").json()["stages"]
    return int(next(stage["dead_letters"] for stage in stages if stage["stage"] == "parser"))


def test_a_broken_document_is_listed_shown_mended_replayed_and_found(
    platform: RunningPlatform, api: httpx.Client
) -> None:
    """INVARIANT: nothing poisons the queue, and nothing is lost by that: what was broken is indexed once mended."""
    document = {"id": "kiel", "collection": "letters", "object": "kiel-1", "media_type": "text/plain"}
    publish(platform, document)
    failed = document_is(api, "kiel", "failed")
    assert failed["error"]["code"] == "object_missing"
    letter_of(api, "kiel")
    listed = json.loads(rag("dead-letters", "list", "--code", "object_missing", "--json", url=platform.url).stdout)
    [letter] = [item for item in listed["items"] if item["document_id"] == "kiel"]
    seq = str(letter["seq"])
    assert (letter["consumer"], letter["field"], letter["revision"]) == ("parser", "object", failed["revision"])
    shown = json.loads(rag("dead-letters", "show", seq, "--json", url=platform.url).stdout)
    assert shown["payload"]["value"] == document

    too_early = rag("dead-letters", "replay", seq, url=platform.url)
    assert (too_early.returncode, "payload_missing" in too_early.stderr) == (1, True)
    put_object(platform, "kiel-1", TEXT)
    replayed = rag("dead-letters", "replay", seq, "--json", url=platform.url)
    assert replayed.returncode == 0, replayed.stderr
    [receipt] = json.loads(replayed.stdout)["done"]
    indexed = document_is(api, "kiel", "indexed")
    assert indexed["revision"] == receipt["revision"] > failed["revision"]
    assert indexed["error"] is None
    hits = api.post("/v1/search", json={"query": "lighthouse", "collection": "letters"}).json()["hits"]
    assert [hit["text"] for hit in hits] == [TEXT.decode()]
    assert rag("dead-letters", "show", seq, url=platform.url).returncode == 1


def test_a_letter_that_an_update_overtook_is_refused_and_discarded(
    platform: RunningPlatform, api: httpx.Client
) -> None:
    """INVARIANT: the later write wins."""
    publish(platform, {"id": "mast", "collection": "letters", "object": "mast-1", "media_type": "text/plain"})
    document_is(api, "mast", "failed")
    letter = letter_of(api, "mast")
    new = {"id": "mast", "collection": "letters", "text": "The mast is made of larch."}
    api.post("/v1/documents", params={"wait_s": 30}, json={"documents": [new]})
    put_object(platform, "mast-1", b"The mast is made of steel.")
    refused = api.post(f"{LETTERS}/{letter['seq']}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "newer_revision")
    assert rag("dead-letters", "discard", str(letter["seq"]), url=platform.url).returncode == 0
    assert api.get(f"{LETTERS}/{letter['seq']}").status_code == 404
    assert document_is(api, "mast", "indexed")["error"] is None
    hits = api.post("/v1/search", json={"query": "what is the mast made of", "collection": "letters"}).json()["hits"]
    assert "The mast is made of steel." not in [hit["text"] for hit in hits]


def test_a_letter_of_another_tenant_is_not_seen_and_not_touched(platform: RunningPlatform, api: httpx.Client) -> None:
    """INVARIANT: a tenant sees only its own."""
    before = letters_of_parser(api)
    publish(platform, {"id": "theirs", "text": 5}, tenant="other")

    wait_until(lambda: letters_of_parser(api) == before + 1, "the letter of the other tenant is there")
    publish(platform, {"id": "ours", "text": 5})
    document_is(api, "ours", "failed")
    ours = letter_of(api, "ours")
    theirs = ours["seq"] - 1
    assert "theirs" not in [item["document_id"] for item in api.get(LETTERS).json()["items"]]
    assert api.get(f"{LETTERS}/{theirs}").status_code == 404
    assert api.delete(f"{LETTERS}/{theirs}").status_code == 404
    assert api.post(f"{LETTERS}/{theirs}/replay").status_code == 404
    assert api.delete(f"{LETTERS}/{ours['seq']}").status_code == 200
    status = rag("status", url=platform.url).stdout
    [parser] = [line.split() for line in status.splitlines() if line.startswith("parser") and "1/1" not in line]
    assert int(parser[4]) == before + 1
