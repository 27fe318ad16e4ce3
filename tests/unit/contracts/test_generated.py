"""The committed contract files are what the classes say, and hold up against the standards."""

import jsonschema
import pytest

from contracts import generate, subjects, topology
from contracts.messages import Message


def test_committed_schemas_are_current() -> None:
    assert generate.outdated() == []


@pytest.mark.parametrize("model", generate.message_types(), ids=lambda model: model.__name__)
def test_every_schema_is_valid_json_schema(model: type[Message]) -> None:
    jsonschema.Draft202012Validator.check_schema(generate.schema_of(model))


def test_the_ingestion_schema_accepts_what_the_documentation_shows() -> None:
    example = {
        "op": "upsert",
        "id": "handbook-7",
        "collection": "default",
        "title": "Handbook",
        "uri": "https://example.org/7",
        "text": "words",
        "media_type": "text/plain",
        "metadata": {"team": "infra", "year": 2026},
    }
    schema = generate.schema_of(generate.PUBLISHED[subjects.INGEST_TEMPLATE])
    jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "metadata": {"a": {"b": 1}}}, schema)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = generate.asyncapi_document()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for item in node for found in references(item)] if isinstance(node, list) else []

    for reference in references(document):
        target: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(target, dict), reference
            assert part in target, reference
            target = target[part]


def test_every_subject_of_a_stream_is_published_by_somebody() -> None:
    """INVARIANT: a stream never waits for a subject that no message has; a renamed subject would strand its queue."""
    declared = {subject for stream in topology.STREAMS for subject in stream.subjects}
    published = set(generate.PUBLISHED)
    for subject in declared - {subjects.DEAD_ALL, subjects.MAX_DELIVERIES_ADVISORIES}:
        stem = subject.rstrip("*>")
        assert any(candidate.startswith(stem) for candidate in published), subject
