"""What the ingestion message accepts, and how it says what is wrong."""

import json

import pytest

from contracts.codec import DecodeError, decode
from contracts.documents import IngestMessage


def decoded(**fields: object) -> IngestMessage:
    return decode(IngestMessage, json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("payload", "field", "words"),
    [
        (b"{", "", "Invalid JSON"),
        (b"[]", "", "object"),
        (b"\xff\xfe", "", "Invalid JSON"),
        (b'{"text":"a","content":"YQ==","media_type":"text/plain"}', "", "text and content"),
        (b'{"id":"a"}', "", "none of them"),
        (b'{"text":"x","id":""}', "id", "at least 1 character"),
        (json.dumps({"text": "x", "id": "i" * 257}).encode(), "id", "at most 256"),
        (b'{"text":"x","id":"a\\u0000b"}', "id", "control characters"),
        (b'{"text":"x","collection":"no spaces"}', "collection", "pattern"),
        (b'{"object":"dead/parser/1"}', "object", "must be an upload"),
        (b'{"content":"!!","media_type":"text/plain"}', "content", "not valid base64"),
        (b'{"content":"YQ=="}', "", "media_type or a filename"),
        (b'{"text":"x","media_type":"nonsense"}', "media_type", "pattern"),
        (b'{"text":"x","metadata":{"a":{"b":1}}}', "metadata.a", "a string, a number"),
        (b'{"text":"x","metadata":{"a":[1]}}', "metadata.a", "strings only"),
        (b'{"text":"x","metadata":{"a.b":1}}', "metadata", "field name"),
        (b'{"op":"delete"}', "", "id or the uri"),
        (b'{"op":"erase","id":"a"}', "op", "'upsert', 'delete' or 'delete_collection'"),
        (b'{"op":"delete_collection"}', "", "must name its collection"),
        (b'{"op":"delete_collection","collection":"a","id":"b"}', "", "to delete one of them use delete"),
        (b'{"op":"delete_collection","collection":"a","uri":"b"}', "", "to delete one of them use delete"),
    ],
)
def test_a_broken_message_is_refused_with_the_field_that_is_wrong(payload: bytes, field: str, words: str) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(IngestMessage, payload)
    assert refused.value.field == field
    assert words in refused.value.reason


def test_unknown_fields_are_ignored_so_that_producers_may_be_newer() -> None:
    assert decoded(text="x", colour="red").text == "x"


def test_metadata_keeps_the_types_it_came_with() -> None:
    metadata = decoded(text="x", metadata={"a": 1, "b": True, "c": 1.5, "d": ["x"], "e": "s"}).metadata
    assert metadata == {"a": 1, "b": True, "c": 1.5, "d": ["x"], "e": "s"}
    assert [type(value) for value in metadata.values()] == [int, bool, float, list, str]


def test_the_same_document_without_an_id_gets_the_same_id_again() -> None:
    assert decoded(text="x").derived_id() == decoded(text="x", title="other").derived_id()
    assert decoded(text="x").derived_id() != decoded(text="y").derived_id()
    assert decoded(text="x", uri="u").derived_id() == decoded(text="y", uri="u").derived_id()
    assert decoded(text="x", uri="u", id="mine").derived_id() == "mine"
