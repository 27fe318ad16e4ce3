"""How documents are put into requests."""

import json

from services.cli.batches import Batch, make_batches
from services.cli.sources import Broken, Document


def document(number: int, size: int = 20) -> Document:
    return Document(f"d{number}", json.dumps({"id": f"d{number}", "text": "x" * size}).encode())


def batches(items: list[Document | Broken], *, documents: int = 50, size: int = 1_000_000) -> list[list[str]]:
    made = make_batches(items, max_documents=documents, max_bytes=size)
    return [[one.document_id for one in batch.documents] for batch in made if isinstance(batch, Batch)]


def test_a_batch_has_at_most_so_many_documents() -> None:
    found = batches([document(number) for number in range(5)], documents=2)
    assert found == [["d0", "d1"], ["d2", "d3"], ["d4"]]


def test_a_batch_has_at_most_so_many_bytes_and_a_larger_document_goes_alone() -> None:
    items: list[Document | Broken] = [
        document(0, 400),
        document(1, 400),
        document(2, 400),
        document(3, 5000),
        document(4),
    ]
    assert batches(items, size=1000) == [["d0", "d1"], ["d2"], ["d3"], ["d4"]]


def test_what_is_broken_passes_through_once() -> None:
    broken = Broken("c.jsonl:2", "invalid_line", "is not JSON")
    made = list(make_batches([document(0), broken, document(1)], max_documents=10))
    assert made[0] == broken
    assert len(made) == 2


def test_a_body_is_the_json_of_its_documents() -> None:
    batch = Batch((document(0), document(1)))
    assert [found["id"] for found in json.loads(batch.body())["documents"]] == ["d0", "d1"]


def test_every_batch_has_a_key_of_its_own() -> None:
    first, second = Batch((document(0), document(1))), Batch((document(0), document(1)))
    keys = {first.key, second.key, *(half.key for half in first.halves())}
    assert len(keys) == 4
