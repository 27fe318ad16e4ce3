"""Two releases side by side: each reads what the other writes."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgpack
import pytest

from contracts import codec, generate
from contracts.codec import BINARY_MESSAGES
from contracts.messages import Message
from contracts.released import BASELINE, incompatible, present

Schema = dict[str, Any]

UNKNOWN: Final = {"added_by_the_next_release": {"whatever": [1, None, "x"]}}
# What a schema does not say: of these fields a message needs one, or they go together.
FENCE: Final = {"tenant": "a", "document_id": "d", "visible": 1, "floor": 1}
COMPLETED: Final[dict[str, Schema]] = {
    "IngestMessage": {"text": "words"},
    "FencesRequest": {"fences": [FENCE]},
    "FencesReply": {"behind": [FENCE]},
}
TEXTS: Final = ("AAAA", "a", "aaaaaaaa", "0" * 32, "0" * 64, "text/plain")
TIME: Final = "2026-01-02T03:04:05Z"


def baseline() -> Schema:
    found: Schema = json.loads(BASELINE.read_text(encoding="utf-8"))
    return found


def test_this_release_and_the_last_one_read_one_another() -> None:
    """INVARIANT: a rolling update runs two releases. What one of them refuses would become dead letters."""
    problems = incompatible(baseline(), present())
    assert problems == [], "see docs/deployment.md: first read both, write the new one in the next release"


def in_message(name: str, change: Callable[[Schema], None]) -> Callable[[Schema], None]:
    return lambda schemas: change(schemas["messages"][name])


def require(schema: Schema) -> None:
    schema["properties"]["colour"] = {"type": "string"}
    schema["required"] = [*schema["required"], "colour"]


CHANGES: Final[dict[str, tuple[Callable[[Schema], Any], str]]] = {
    "a new field that has to be there": (in_message("ChunksReady", require), "colour: required now"),
    "a field that may be left out": (
        in_message("DocumentIndexed", lambda one: one["required"].remove("chunks")),
        "chunks: may be left out now",
    ),
    "another type": (
        in_message("DocumentIndexed", lambda one: one["properties"].update(chunks={"type": "string"})),
        "chunks: was integer, is string",
    ),
    "a smaller bound": (
        in_message("DocumentIndexed", lambda one: one["properties"]["chunks"].update(maximum=10)),
        "chunks: maximum is 10",
    ),
    "a larger least value": (
        in_message("DocumentIndexed", lambda one: one["properties"]["chunks"].update(minimum=2)),
        "chunks: minimum is 2",
    ),
    "a value that is gone": (
        in_message("IngestMessage", lambda one: one["properties"]["op"]["enum"].remove("delete")),
        "takes delete no longer",
    ),
    "a subject that is gone": (
        lambda schemas: schemas["subjects"].pop("rag.v1.chunks.ready"),
        "rag.v1.chunks.ready: gone",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_would_break_the_other_release_is_named(name: str) -> None:
    change, said = CHANGES[name]
    changed = copy.deepcopy(present())
    change(changed)
    assert any(said in line for line in incompatible(present(), changed)), incompatible(present(), changed)


def test_what_a_release_may_add_is_no_problem() -> None:
    wider = copy.deepcopy(present())
    indexed = wider["messages"]["DocumentIndexed"]
    indexed["properties"]["colour"] = {"type": "string"}
    indexed["properties"]["chunks"]["minimum"] = 0
    wider["messages"]["IngestMessage"]["properties"]["op"]["enum"].append("touch")
    wider["subjects"]["rag.v1.new"] = ["DocumentIndexed"]
    assert incompatible(present(), wider) == []


def sample(schema: Schema, root: Schema) -> Any:
    """Return a value of a schema, with every field that it has to have."""
    if "$ref" in schema:
        return sample(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return sample(options[0], root)
    return SAMPLES[schema.get("type", "object")](schema, root)


def sample_object(schema: Schema, root: Schema) -> Schema:
    needed = {name: field for name, field in schema.get("properties", {}).items() if name in schema.get("required", ())}
    return {name: sample(field, root) for name, field in needed.items()}


def sample_text(schema: Schema, root: Schema) -> str:
    """Return the first text that fits: base64, a time, a name, an id, a type of media."""
    if schema.get("format") == "date-time":
        return TIME
    return next(text for text in TEXTS if re.search(schema.get("pattern", ""), text))


SAMPLES: Final[dict[str, Callable[[Schema, Schema], Any]]] = {
    "object": sample_object,
    "string": sample_text,
    "integer": lambda schema, root: max(1, schema.get("minimum", 1)),
    "number": lambda schema, root: schema.get("minimum", 1.0),
    "boolean": lambda schema, root: True,
    "array": lambda schema, root: [sample(schema["items"], root)] * max(1, schema.get("minItems", 1)),
}


def with_unknown_fields(value: Any, schema: Schema, root: Schema) -> Any:
    """Return the value with one more field in each of its objects that has fields of its own."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        return [with_unknown_fields(one, schema.get("items", {}), root) for one in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    known = {name: with_unknown_fields(one, schema["properties"].get(name, {}), root) for name, one in value.items()}
    return known | UNKNOWN


def encoded(model: type[Message], value: Schema) -> bytes:
    packed: bytes = msgpack.packb(value) if model in BINARY_MESSAGES else json.dumps(value).encode()
    return packed


@pytest.mark.parametrize("model", generate.message_types(), ids=lambda model: model.__name__)
def test_fields_that_a_newer_release_adds_are_passed_over(model: type[Message]) -> None:
    """INVARIANT: a release ignores fields it does not know, wherever they stand in a message."""
    schema = model.model_json_schema(mode="validation")
    value = sample(schema, schema) | COMPLETED.get(model.__name__, {})
    newer = with_unknown_fields(value, schema, schema)
    assert newer.keys() > value.keys()
    known, read = (codec.decode(model, encoded(model, one)) for one in (value, newer))
    assert read.model_dump(exclude_unset=True) == known.model_dump(exclude_unset=True)
