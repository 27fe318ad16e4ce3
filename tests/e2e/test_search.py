"""Searching by meaning and by words through the real processes, and in a document that is still being read."""

from typing import Any

import httpx

from tests.platform_process import wait_until

COLLECTION = "depot"
DEPOT = {
    "pump": "Pump XK-4711 stands in the cellar and is serviced every spring.",
    "valve": "Valve XK-4712 closes the main pipe when the pressure falls.",
    "boiler": "The device that heats water for the whole house is under the roof.",
}


def search(api: httpx.Client, query: str, **fields: Any) -> dict[str, Any]:
    reply = api.post("/v1/search", json={"query": query, "collection": COLLECTION, **fields})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def documents(found: dict[str, Any]) -> list[str]:
    return [hit["document_id"] for hit in found["hits"]]


def fill(api: httpx.Client) -> None:
    body = {"documents": [{"id": name, "collection": COLLECTION, "text": text} for name, text in DEPOT.items()]}
    reply = api.post("/v1/documents", params={"wait_s": 60}, json=body)
    assert {each["status"] for each in reply.json()["documents"]} == {"indexed"}


def test_words_find_names_and_meaning_finds_what_is_said_otherwise(api: httpx.Client) -> None:
    fill(api)
    assert documents(search(api, "xk 4712", mode="sparse"))[0] == "valve"
    assert documents(search(api, "heating", mode="sparse")) == ["boiler"]
    assert documents(search(api, "central furnace", mode="sparse")) == []
    assert documents(search(api, "central furnace", mode="dense"))[0] == "boiler"
    assert documents(search(api, "XK-4712"))[0] == "valve"
    assert documents(search(api, "central furnace"))[0] == "boiler"
    assert documents(search(api, "the of what", mode="sparse")) == []


def test_reranking_reads_query_and_passage_together_and_says_so(api: httpx.Client) -> None:
    fill(api)
    found = search(api, "which part shuts the water off?", rerank=True)
    assert found["reranked"] is True
    assert documents(found)[0] == "valve"
    assert {"embed", "index", "rerank", "gateway", "total"} <= found["took_ms"].keys()
    assert all(0 <= hit["score"] <= 1 for hit in found["hits"])


def test_a_long_document_is_found_before_its_end_is_embedded(api: httpx.Client) -> None:
    """The first of some 250 chunks answers while the last ones wait."""
    filler = " ".join(
        f"Paragraph about harbour number {number} and its ferries, cranes and tides." for number in range(9)
    )
    paragraphs = ["The cormorant of Lindby wears a blue ring.", *(f"{number}. {filler}" for number in range(500))]
    body = {"documents": [{"id": "novel", "collection": COLLECTION, "text": "\n\n".join(paragraphs)}]}
    assert api.post("/v1/documents", json=body).status_code == 202

    def found() -> bool:
        return documents(search(api, "cormorant of Lindby blue ring"))[:1] == ["novel"]

    wait_until(found, "the beginning of the document is found")
    state = api.get("/v1/documents/novel").json()
    assert state["status"] == "processing"
    assert state["chunks"]["total"] == 0 or state["chunks"]["indexed"] < state["chunks"]["total"]
    api.delete("/v1/documents/novel")
    assert documents(search(api, "cormorant of Lindby blue ring"))[:1] != ["novel"]
