"""What is made of the spans that exporters send, whatever they send."""

import gzip
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from contracts.traces import TraceSpan
from services.persistence.tracing.bodies import read, unpack
from services.persistence.tracing.otlp import MAX_ATTRIBUTES, MAX_BODY_BYTES, MAX_VALUE_CHARACTERS, parse, spans_in
from services.persistence.tracing.span import merge
from shared.errors import InvalidMessage, Rejected
from tests.unit.persistence.exported_spans import MILLISECOND, NOW, exported, kept, message

MIB = 1024 * 1024


def body_of(span: Span) -> dict[str, Any]:
    [found] = kept(span)
    read_back: dict[str, Any] = orjson.loads(found.body)
    return read_back


def test_a_span_is_read_as_readers_will_see_it() -> None:
    [found] = kept(
        exported(1, 2, parent=3, name="process x", took_ms=4, failed=True, attributes={"error.type": "Timeout"})
    )
    view = TraceSpan.model_validate_json(found.body)
    assert (found.trace_id, found.tenant, found.span_id) == ("0" * 31 + "1", "acme", "0" * 15 + "2")
    assert (view.parent_span_id, view.name, view.service, view.instance) == (
        "0" * 15 + "3",
        "process x",
        "parser",
        "one",
    )
    assert (view.kind, view.status, view.duration_ms) == ("consumer", "error", 4.0)
    assert view.attributes == {"error.type": "Timeout"}


def test_a_span_of_nobody_is_not_kept() -> None:
    """INVARIANT: a tenant sees only its own. What belongs to nobody could only be shown to everybody."""
    assert list(spans_in(message(exported(1, 2, tenant=None), exported(1, 3, tenant="No Tenant")))) == [None, None]


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": b"\0" * 16},
        {"trace_id": b"short"},
        {"span_id": b""},
        {"start_time_unix_nano": 0},
        {"end_time_unix_nano": NOW - MILLISECOND},
        {"end_time_unix_nano": 2**64 - 1},
    ],
)
def test_a_span_with_impossible_ids_or_times_is_not_kept(fields: dict[str, Any]) -> None:
    span = exported(1, 2)
    for name, value in fields.items():
        setattr(span, name, value)
    assert next(spans_in(message(span, exported(1, 3)))) is None
    assert len(kept(span, exported(1, 3))) == 1


def test_what_is_kept_of_a_span_is_bounded() -> None:
    many = {f"a{number:04}": "x" * 10 for number in range(2_000)}
    assert len(body_of(exported(1, 2, attributes=many))["attributes"]) < MAX_ATTRIBUTES
    assert len(body_of(exported(1, 2, attributes={"text": "x" * MIB}))["attributes"]["text"]) == MAX_VALUE_CHARACTERS
    [found] = kept(exported(1, 2, attributes={f"a{number}": "€" * MAX_VALUE_CHARACTERS for number in range(60)}))
    assert len(found.body) < MAX_BODY_BYTES
    assert "rag.span.truncated" in orjson.loads(found.body)["attributes"]


def test_text_that_no_database_takes_and_values_that_are_no_json_are_kept_as_something() -> None:
    span = exported(1, 2, name="a\x00b", attributes={"n\x00": "\x00", "nan": float("nan")})
    span.attributes.append(
        KeyValue(key="nested", value=AnyValue(array_value=ArrayValue(values=[AnyValue(array_value=ArrayValue())])))
    )
    view = body_of(span)
    assert view["name"] == "ab"
    assert view["attributes"] == {"n": "", "nan": None, "nested": ["(array)"]}


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"{}", b"\x0a\xff\xff\xff\x7f"])
def test_bytes_that_are_no_otlp_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage, match="no OTLP"):
        parse(body)


def test_a_gzip_body_is_unpacked() -> None:
    assert unpack(gzip.compress(b"spans"), "gzip", 100) == b"spans"
    assert unpack(b"spans", "", 100) == b"spans"


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB))
    assert len(bomb) < MIB
    tracemalloc.start()
    with pytest.raises(Rejected, match="over the limit") as refused:
        unpack(bomb, "gzip", MIB)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * MIB
    assert refused.value.error_code == "too_large"


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"spans")[:-4], gzip.compress(b"a") + gzip.compress(b"b")])
def test_a_body_that_is_not_one_whole_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        unpack(body, "gzip", MIB)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(Rejected, match="'br' is not known"):
        unpack(b"", "br", MIB)


async def test_an_endless_body_is_refused_at_its_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1_000

    with pytest.raises(Rejected):
        await read(endless(), 10_000)
    assert sent == 11


def test_a_trace_is_named_by_its_root_in_whatever_order_spans_come() -> None:
    spans = [exported(1, 2, parent=9, name="early child", at_ms=-5), exported(1, 9, name="root", took_ms=50)]
    spans.append(exported(1, 3, parent=9, name="late child", at_ms=100, failed=True))
    for order in (spans, spans[::-1]):
        records, _ = merge({}, kept(*order), NOW, 100)
        [record] = records.values()
        assert (record.name, record.spans, record.failed) == ("root", 3, True)
        assert record.duration_ns == 115 * MILLISECOND


def test_spans_that_a_trace_has_no_room_for_are_counted() -> None:
    records, room = merge({}, kept(*(exported(1, number) for number in range(1, 8))), NOW, 5)
    [record] = records.values()
    assert (record.spans, record.dropped, len(room)) == (5, 2, 5)
