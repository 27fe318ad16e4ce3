"""Writes the JSON Schemas, the AsyncAPI document and the broker's users from the code; `--check` compares them."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from contracts import (
    audit,
    broker_users,
    chunks,
    codec,
    conversations,
    dead_letters,
    documents,
    errors,
    facts,
    health,
    keys,
    queries,
    reads,
    reconciliation,
    retrieval,
    subjects,
    topology,
    traces,
)
from contracts.messages import Message

FOLDER: Final = Path(__file__).resolve().parent
SCHEMAS: Final = FOLDER / "schemas"
ASYNCAPI: Final = FOLDER / "asyncapi.json"
BROKER_USERS: Final = FOLDER.parent / "deploy" / "nats" / "users.conf"

PUBLISHED: Final[dict[str, type[Message]]] = {
    subjects.INGEST_TEMPLATE: documents.IngestMessage,
    subjects.CHUNKS_READY: chunks.ChunksReady,
    subjects.CHUNKS_EMBEDDED: chunks.ChunksEmbedded,
    subjects.QUERIES_ASK: queries.AskQuestion,
    subjects.ANSWERS_TEMPLATE: queries.AnswerEvent,
    subjects.TOLD_TEMPLATE: queries.AnswerEvent,
    subjects.LISTENING_TEMPLATE: queries.StillListening,
    subjects.CONVERSATION_TURNS: conversations.ConversationTurn,
    subjects.KEYS_CHANGED: keys.KeyChanges,
    **facts.FACT_TYPES,
}
REQUESTED: Final[dict[str, tuple[type[Message], type[Message]]]] = {
    subjects.RETRIEVE: (retrieval.RetrieveRequest, retrieval.RetrieveReply),
    subjects.READ_PASSAGES: (retrieval.PassagesRequest, retrieval.PassagesReply),
    subjects.EMBED_QUERY: (retrieval.EmbedRequest, retrieval.EmbedReply),
    subjects.INDEX_EPOCH: (retrieval.EpochRequest, retrieval.EpochReply),
    subjects.INDEX_FENCE: (retrieval.FenceRequest, retrieval.FenceReply),
    subjects.INDEX_REINDEX: (retrieval.ReindexRequest, retrieval.ReindexReply),
    subjects.INDEX_REVISIONS: (reconciliation.RevisionsRequest, reconciliation.RevisionsReply),
    subjects.INDEX_FENCES: (reconciliation.FencesRequest, reconciliation.FencesReply),
    subjects.INDEX_REMOVE: (reconciliation.RemoveRequest, reconciliation.RemoveReply),
    subjects.RECONCILE: (reconciliation.ReconcileRequest, reconciliation.ReconcileReply),
    subjects.READ_DOCUMENT: (reads.DocumentQuery, reads.DocumentView),
    subjects.READ_DOCUMENTS: (reads.DocumentListQuery, reads.DocumentPage),
    subjects.READ_COLLECTIONS: (reads.CollectionsQuery, reads.CollectionList),
    subjects.READ_IDEMPOTENCY: (reads.IdempotencyQuery, reads.IdempotencyReply),
    subjects.READ_USAGE: (reads.UsageQuery, reads.UsageReply),
    subjects.READ_CONVERSATIONS: (conversations.ConversationListQuery, conversations.ConversationPage),
    subjects.READ_CONVERSATION: (conversations.ConversationQuery, conversations.ConversationContent),
    subjects.READ_QUERY: (conversations.QueryLookup, conversations.AskedQuery),
    subjects.CONVERSATION_HISTORY: (conversations.HistoryQuery, conversations.HistoryReply),
    subjects.RECORD_TURN: (conversations.ConversationTurn, conversations.RecordReply),
    subjects.DELETE_CONVERSATION: (conversations.ConversationDelete, conversations.ConversationDeleted),
    subjects.READ_DEAD_LETTERS: (dead_letters.DeadLetterListQuery, dead_letters.DeadLetterPage),
    subjects.READ_DEAD_LETTER: (dead_letters.DeadLetterQuery, dead_letters.DeadLetterContent),
    subjects.REPLAY_DEAD_LETTERS: (dead_letters.ReplayRequest, dead_letters.ReplayReply),
    subjects.DISCARD_DEAD_LETTER: (dead_letters.DiscardRequest, dead_letters.DiscardReply),
    subjects.READ_TRACE: (traces.TraceQuery, traces.TraceView),
    subjects.READ_TRACES: (traces.TraceListQuery, traces.TracePage),
    subjects.READ_AUDIT: (audit.AuditQuery, audit.AuditPage),
    subjects.KEYS_CREATE: (keys.KeyCreate, keys.KeyView),
    subjects.KEYS_LIST: (keys.KeyListQuery, keys.KeyPage),
    subjects.KEYS_REVOKE: (keys.KeyRevoke, keys.KeyView),
    subjects.KEYS_CHANGES: (keys.KeyChangesQuery, keys.KeyChanges),
    subjects.HEALTH: (health.HealthRequest, health.HealthReply),
}
HEADERS: Final[dict[str, str]] = {
    subjects.HEADER_TRACEPARENT: "W3C trace context; continued when present.",
    subjects.HEADER_TRACESTATE: "W3C trace state.",
    subjects.HEADER_MESSAGE_ID: "Names the message; the same id within the dedupe window is stored once.",
    subjects.HEADER_CONTENT_TYPE: "application/json, or application/msgpack where vectors travel.",
    subjects.HEADER_SIZE: "Bytes of a document in the object store, an estimate until it is parsed; optional.",
    subjects.HEADER_TENANT: "Tenant of the work (on the ingestion subject the subject itself says it).",
    subjects.HEADER_CORRELATION_ID: "Shared by all work for one request.",
    subjects.HEADER_DEADLINE: "Unix milliseconds after which nobody waits for the result.",
}


def message_types() -> list[type[Message]]:
    """Return every message class that travels, without repeats, ordered by name."""
    found = {model for pair in REQUESTED.values() for model in pair} | set(PUBLISHED.values())
    return sorted(found | {errors.ErrorReply, queries.Answer}, key=lambda model: model.__name__)


def schema_of(model: type[Message]) -> dict[str, Any]:
    """Return a message's JSON Schema, self-contained."""
    schema = model.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def generated_files() -> dict[Path, str]:
    """Return the path and content of every generated file."""
    files = {SCHEMAS / f"{model.__name__}.json": _dump(schema_of(model)) for model in message_types()}
    return {**files, ASYNCAPI: _dump(asyncapi_document()), BROKER_USERS: broker_users.users_file()}


def asyncapi_document() -> dict[str, Any]:
    """Return the event contract as an AsyncAPI 3.0 document."""
    channels, operations = {}, {}
    for subject, model in PUBLISHED.items():
        channels[_key(subject)] = _channel(subject, [model])
        operations[f"publish-{_key(subject)}"] = _operation("send", subject)
    for subject, (request, reply) in REQUESTED.items():
        channels[_key(subject)] = _channel(subject, [request])
        channels[_key(subject) + "-reply"] = {"address": None, "messages": _references([reply, errors.ErrorReply])}
        operations[f"request-{_key(subject)}"] = {
            **_operation("send", subject),
            "reply": {"channel": {"$ref": f"#/channels/{_key(subject)}-reply"}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "RAG platform events", "version": "1", "description": "Subjects, streams and messages."},
        "defaultContentType": subjects.CONTENT_TYPE_JSON,
        "channels": channels,
        "operations": operations,
        "components": _components(),
        "x-streams": [_stream(stream) for stream in topology.STREAMS],
    }


def _components() -> dict[str, Any]:
    return {
        "messages": {model.__name__: _message(model) for model in message_types()},
        "schemas": {model.__name__: _embedded_schema(model) for model in message_types()},
        "messageTraits": {
            "headers": {"headers": {"type": "object", "properties": {k: _text(v) for k, v in HEADERS.items()}}}
        },
    }


def _embedded_schema(model: type[Message]) -> dict[str, Any]:
    """Keep nested definitions inside their schema, so that each stays valid where it stands."""
    base = f"#/components/schemas/{model.__name__}/$defs/"
    return model.model_json_schema(mode="validation", ref_template=base + "{model}")


def _message(model: type[Message]) -> dict[str, Any]:
    return {
        "name": model.__name__,
        "summary": (model.__doc__ or "").strip().splitlines()[0],
        "contentType": codec.content_type(model),
        "traits": [{"$ref": "#/components/messageTraits/headers"}],
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }


def _channel(subject: str, models: list[type[Message]]) -> dict[str, Any]:
    channel: dict[str, Any] = {"address": subject, "messages": _references(models)}
    if "{" in subject:
        name = subject[subject.index("{") + 1 : subject.index("}")]
        channel["parameters"] = {name: {"description": f"One subject token: the {name.replace('_', ' ')}."}}
    return channel


def _references(models: list[type[Message]]) -> dict[str, Any]:
    return {model.__name__: {"$ref": f"#/components/messages/{model.__name__}"} for model in models}


def _operation(action: str, subject: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{_key(subject)}"}}


def _stream(stream: topology.Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "retention": stream.retention.value,
        "storage": stream.storage.value,
        "whenFull": "publish refused" if stream.discard is topology.Discard.NEW else "oldest dropped",
        "maxAgeSeconds": stream.max_age_seconds,
        "dedupeWindowSeconds": stream.dedupe_window_seconds,
        "consumers": [consumer.name for consumer in stream.consumers],
    }


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _key(subject: str) -> str:
    return subject.replace("{", "").replace("}", "").replace(".", "-")


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def outdated() -> list[str]:
    """Return what differs between the committed files and the classes, one line each."""
    wanted = generated_files()
    found = [
        f"{path.relative_to(FOLDER.parent)} is not current"
        for path, content in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    strays = [path for path in SCHEMAS.glob("*.json") if path not in wanted]
    return found + [f"{path.relative_to(FOLDER.parent)} belongs to no message" for path in strays]


def write() -> None:
    """Write every generated file and remove what no message stands behind."""
    wanted = generated_files()
    for path, content in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    for path in SCHEMAS.glob("*.json"):
        if path not in wanted:
            path.unlink()


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` report what is not current."""
    if arguments != ["--check"]:
        write()
        return 0
    problems = outdated()
    for line in problems:
        sys.stderr.write(f"{line}; run `make contracts`\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
