"""Messages that nobody should send, made from the contracts' own schemas, and bytes that are no message at all."""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from contracts import subjects
from contracts.codec import BINARY_MESSAGES
from contracts.messages import Message

Headers = dict[str, str]
KNOWN: Final = "known"
# Broken in ways that a generator of values does not come to.
BROKEN: Final = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"tenant":"\\ud800","document_id":"\\udfff"}',
    b'{"tenant":"default","tenant":"other"}',
    b'{"revision":1e999,"floor":NaN,"limit":-Infinity}',
    b'{"revision":' + b"9" * 400 + b"}",
    b"9" * 5_000,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    # msgpack: nested, four thousand million items, as many bytes, a name that is no text, a time before all times.
    b"\x91" * 100_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x81\xc4\x01\x00\xc0",
    b"\x81\xa8revision\xc7\x0c\xff\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\x00\x00",
)
TENANTS: Final = ("default", "other", "dead", "", "Up.Per", "a" * 300, "default\x00", "*", ">")
NUMBERS: Final = (-1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**40)
TEXTS: Final = (
    KNOWN,
    "",
    "\x00",
    "../../etc/passwd",
    "'; DROP TABLE documents; --",
    "%",
    "x" * 5_000,
    "\U0010ffff",
    "\u202e",
)
# What is worth being right while everything around it is wrong.
_POOLS: Final[Mapping[str, tuple[Any, ...]]] = {
    "tenant": TENANTS,
    "document_id": TEXTS,
    "conversation_id": TEXTS,
    "query_id": TEXTS,
    "trace_id": (*TEXTS, "0" * 32),
    "cursor": (*TEXTS, "MTIz", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"),
    "collection": ("default", "nowhere", None),
    "object": ("nowhere", "dead/parser/1", "dead/../uploads"),
    "seqs": ([1], [2**63], [-1]),
    **{name: NUMBERS for name in ("revision", "seq", "floor", "limit", "top_k", "min_ms", "version", "batch", "after")},
}


def examples(count: int, *, seeded: bool) -> settings:
    """Return how many examples are tried; seeded ones are the same every time."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=seeded,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def concrete(subject: str, tenant: str) -> str:
    """Return a subject of the contract as a message travels on it."""
    return subject.format(tenant=tenant, query_id=KNOWN)


def payloads(models: Mapping[str, type[Message]]) -> dict[str, st.SearchStrategy[bytes]]:
    """Return for every subject what makes payloads for it: good, bad and broken ones."""
    schema = schemathesis.openapi.from_dict(_document(models))
    found: dict[str, st.SearchStrategy[bytes]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # one that is no operation raises here
        values = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        ).map(lambda case: case.body)
        subject = operation.path.removeprefix("/")
        # Now and then in the other encoding.
        packed = st.sampled_from((*(models[subject] in BINARY_MESSAGES,) * 7, models[subject] not in BINARY_MESSAGES))
        encoded = st.builds(_encoded, st.builds(_aimed, values, _aims()), packed)
        found[subject] = st.one_of(encoded, encoded, encoded, bytes_of_no_message())
    return found


def headers() -> st.SearchStrategy[Headers | None]:
    """Return what makes headers: none, those of another tenant, those that mean nothing."""
    one = st.fixed_dictionaries(
        {},
        optional={
            subjects.HEADER_TENANT: st.sampled_from(("default", "other", "Up.Per", "a" * 300, "*")),
            subjects.HEADER_DEADLINE: st.sampled_from(("-1", "nan", "9" * 15, "9" * 400, "1e9", "²")),
            subjects.HEADER_TRACEPARENT: st.sampled_from(("00-0-0-0", "x" * 3_000, "00-" + "f" * 32 + "-" + "f" * 16)),
            subjects.HEADER_CORRELATION_ID: st.sampled_from(("y" * 3_000, "é", "a b\tc")),
            subjects.HEADER_CONTENT_TYPE: st.sampled_from(("text/html", "application/msgpack", "/")),
            subjects.HEADER_DEAD_SEQUENCE: st.sampled_from(("-1", "9" * 30, "x")),
            subjects.HEADER_DEAD_SUBJECT: st.sampled_from(("rag.v1.ingest.default", "rag.v1.chunks.ready", ">")),
            subjects.HEADER_DEAD_STREAM: st.sampled_from(("INGEST", "nowhere")),
            subjects.HEADER_DEAD_CONSUMER: st.sampled_from(("parser", "persistence-dead", "nobody")),
            subjects.HEADER_DEAD_OBJECT: st.sampled_from(("dead/nowhere", "uploads", "../x")),
            subjects.HEADER_REPLAY_OF: st.sampled_from(("1", "x")),
        },
    )
    return st.one_of(st.none(), one)


def bytes_of_no_message() -> st.SearchStrategy[bytes]:
    """Return what makes bytes that are no message at all."""
    return st.one_of(st.sampled_from(BROKEN), st.binary(max_size=300))


def _document(models: Mapping[str, type[Message]]) -> dict[str, Any]:
    """Return the messages as the bodies of an OpenAPI document, which schemathesis makes values from."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for subject, model in models.items():
        schema = model.model_json_schema(ref_template=f"#/components/schemas/{model.__name__}.{{model}}")
        schemas |= {f"{model.__name__}.{name}": inner for name, inner in schema.pop("$defs", {}).items()}
        schemas[model.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
        body = {"required": True, "content": content}
        paths[f"/{subject}"] = {"post": {"requestBody": body, "responses": {"200": {"description": "a reply"}}}}
    info = {"title": "messages", "version": "1"}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _aims() -> st.SearchStrategy[dict[str, Any]]:
    """Return values for the fields by which a message is about something that exists, or could not exist."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(pool) for name, pool in _POOLS.items()})


def _aimed(value: Any, aims: dict[str, Any]) -> Any:
    """Aim fields that the value has already, so that a message stays of its kind."""
    if not isinstance(value, dict):
        return value
    return {**value, **{name: aim for name, aim in aims.items() if name in value}}


def _encoded(value: Any, packed: bool) -> bytes:
    if isinstance(value, bytes):
        return value
    if packed:
        try:
            return bytes(msgpack.packb(value, use_bin_type=True, default=str))
        except (OverflowError, ValueError, TypeError):
            pass  # Beyond what msgpack holds; JSON holds it.
    return json.dumps(value, default=str).encode("utf-8", "surrogatepass")
