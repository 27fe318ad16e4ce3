"""Lists of documents through the gateway, on a real broker."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway_stand import Stand, document, running_stand
from tests.running import eventually
from tests.servers import NatsServer


@pytest.fixture
async def stand(nats_broker: NatsServer) -> AsyncIterator[Stand]:
    async with running_stand(nats_broker) as running:
        yield running


async def test_documents_are_listed_in_pages(stand: Stand) -> None:
    sent = [document(id=f"d{index}", collection="c" if index else "other") for index in range(5)]
    await stand.http.post("/v1/documents", json={"documents": sent})
    await eventually(lambda: len(stand.persistence.documents) == 5, "everything is recorded")
    seen, cursor = [], None
    while True:
        query = {"collection": "c", "status": "accepted", "limit": "3", **({"cursor": cursor} if cursor else {})}
        page = (await stand.http.get("/v1/documents", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ["d1", "d2", "d3", "d4"]


async def test_documents_are_listed_by_title_by_id_and_by_age(stand: Stand) -> None:
    sent = [document(id=f"d{index}", title=f"Title {index}") for index in range(3)]
    await stand.http.post("/v1/documents", json={"documents": sent})
    await eventually(lambda: len(stand.persistence.documents) == 3, "everything is recorded")

    async def ids(query: str) -> list[str]:
        response = await stand.http.get(f"/v1/documents?{query}")
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["items"]]

    assert await ids("title=E+2") == ["d2"]
    assert await ids("id=d2&id=d0&id=none") == ["d0", "d2"]
    assert await ids("order=newest") == ["d2", "d1", "d0"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("status=gone", "status"),
        ("collection=a b", "collection"),
        ("title=", "title"),
        ("title=%00", "title"),
        ("title=" + "x" * 257, "title"),
        ("id=", "id.0"),
        ("&".join(["id=x"] * 101), "id"),
        ("order=title", "order"),
    ],
)
async def test_a_wrong_list_is_refused_by_its_parameter(stand: Stand, query: str, field: str) -> None:
    response = await stand.http.get(f"/v1/documents?{query}")
    assert (response.status_code, response.json()["field"]) == (422, field)
