"""Every subject and header of the platform, declared here and only here.

A tenant appears in one subject only, the ingestion subject, so that broker permissions can bind a producer to its
tenant. Spans and metric labels use the template, never the concrete subject.
"""

import re
from typing import Final

PREFIX: Final = "rag.v1"

INGEST_TEMPLATE: Final = "rag.v1.ingest.{tenant}"
INGEST_ALL: Final = "rag.v1.ingest.*"
CHUNKS_READY: Final = "rag.v1.chunks.ready"
CHUNKS_EMBEDDED: Final = "rag.v1.chunks.embedded"
CONVERSATION_TURNS: Final = "rag.v1.conversations.turns"
QUERIES_ASK: Final = "rag.v1.queries.ask"
ANSWERS_TEMPLATE: Final = "rag.v1.answers.{query_id}"
ANSWERS_ALL: Final = "rag.v1.answers.*"
TOLD_TEMPLATE: Final = "rag.v1.told.{query_id}"
# How the broker builds the subject on which it repeats what ANSWERS has stored.
TOLD_OF_ANSWERS: Final = "rag.v1.told.{{wildcard(1)}}"
LISTENING_TEMPLATE: Final = "rag.v1.listening.{query_id}"
LISTENING_ALL: Final = "rag.v1.listening.*"
DEAD_TEMPLATE: Final = "rag.v1.dead.{consumer}"
DEAD_ALL: Final = "rag.v1.dead.*"
FACTS_ALL: Final = "rag.v1.facts.>"
MAX_DELIVERIES_ADVISORIES: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"

DOCUMENT_ACCEPTED: Final = "rag.v1.facts.document.accepted"
DOCUMENT_PARSED: Final = "rag.v1.facts.document.parsed"
DOCUMENT_INDEXED: Final = "rag.v1.facts.document.indexed"
DOCUMENT_SUPERSEDED: Final = "rag.v1.facts.document.superseded"
DOCUMENT_DELETED: Final = "rag.v1.facts.document.deleted"
DOCUMENT_FAILED: Final = "rag.v1.facts.document.failed"
CHUNKS_INDEXED: Final = "rag.v1.facts.chunks.indexed"
QUERY_ANSWERED: Final = "rag.v1.facts.query.answered"
QUERY_FAILED: Final = "rag.v1.facts.query.failed"
FEEDBACK_GIVEN: Final = "rag.v1.facts.feedback.given"
AUDIT_PREFIX: Final = "rag.v1.facts.audit."
AUDIT_ALL: Final = "rag.v1.facts.audit.*"
AUDIT_KEY_USED: Final = "rag.v1.facts.audit.key_used"
AUDIT_AUTH_FAILED: Final = "rag.v1.facts.audit.auth_failed"
AUDIT_KEY_CREATED: Final = "rag.v1.facts.audit.key_created"
AUDIT_KEY_REVOKED: Final = "rag.v1.facts.audit.key_revoked"
AUDIT_DELETED: Final = "rag.v1.facts.audit.deleted"
AUDIT_REPLAYED: Final = "rag.v1.facts.audit.replayed"
AUDIT_DISCARDED: Final = "rag.v1.facts.audit.discarded"
AUDIT_ADMIN_CALLED: Final = "rag.v1.facts.audit.admin_called"

RETRIEVE: Final = "rag.v1.retrieve"
EMBED_QUERY: Final = "rag.v1.embed.query"
INDEX_EPOCH: Final = "rag.v1.index.epoch"
INDEX_FENCE: Final = "rag.v1.index.fence"
INDEX_REINDEX: Final = "rag.v1.index.reindex"
INDEX_REVISIONS: Final = "rag.v1.index.revisions"
INDEX_FENCES: Final = "rag.v1.index.fences"
INDEX_REMOVE: Final = "rag.v1.index.remove"
READ_DOCUMENT: Final = "rag.v1.read.document"
READ_PASSAGES: Final = "rag.v1.read.passages"
READ_DOCUMENTS: Final = "rag.v1.read.documents"
READ_COLLECTIONS: Final = "rag.v1.read.collections"
READ_IDEMPOTENCY: Final = "rag.v1.read.idempotency"
READ_USAGE: Final = "rag.v1.read.usage"
READ_CONVERSATION: Final = "rag.v1.read.conversation"
READ_CONVERSATIONS: Final = "rag.v1.read.conversations"
READ_QUERY: Final = "rag.v1.read.query"
READ_DEAD_LETTER: Final = "rag.v1.read.dead-letter"
READ_DEAD_LETTERS: Final = "rag.v1.read.dead-letters"
READ_TRACE: Final = "rag.v1.read.trace"
READ_TRACES: Final = "rag.v1.read.traces"
REPLAY_DEAD_LETTERS: Final = "rag.v1.dead-letters.replay"
DISCARD_DEAD_LETTER: Final = "rag.v1.dead-letters.discard"
CONVERSATION_HISTORY: Final = "rag.v1.conversations.history"
RECORD_TURN: Final = "rag.v1.conversations.record"
DELETE_CONVERSATION: Final = "rag.v1.conversations.delete"
READ_AUDIT: Final = "rag.v1.read.audit"
KEYS_CREATE: Final = "rag.v1.keys.create"
KEYS_LIST: Final = "rag.v1.keys.list"
KEYS_REVOKE: Final = "rag.v1.keys.revoke"
KEYS_CHANGES: Final = "rag.v1.keys.changes"
KEYS_CHANGED: Final = "rag.v1.keys.changed"
RECONCILE: Final = "rag.v1.reconcile"
HEALTH: Final = "rag.v1.health"
TOOL_TEMPLATE: Final = "rag.v1.tools.{tool}"

UPLOADS_BUCKET: Final = "uploads"
AGENT_STEPS_BUCKET: Final = "agent-steps"

HEADER_TRACEPARENT: Final = "traceparent"
HEADER_TRACESTATE: Final = "tracestate"
HEADER_TENANT: Final = "Rag-Tenant"
HEADER_CORRELATION_ID: Final = "Rag-Correlation-Id"
HEADER_DEADLINE: Final = "Rag-Deadline"
HEADER_IDEMPOTENCY: Final = "Rag-Idempotency"
HEADER_CONTENT_TYPE: Final = "Content-Type"
HEADER_SIZE: Final = "Rag-Size"
HEADER_MESSAGE_ID: Final = "Nats-Msg-Id"
HEADER_ERROR: Final = "Rag-Error"
HEADER_REPLAY_OF: Final = "Rag-Replay-Of"
HEADER_EXPECTED_SEQUENCE: Final = "Nats-Expected-Last-Sequence"
HEADER_EXPECTED_SUBJECT_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
HEADER_STORED_SEQUENCE: Final = "Nats-Sequence"
HEADER_STORED_BEHIND: Final = "Nats-Last-Sequence"
HEADER_BATCH_ID: Final = "Nats-Batch-Id"
HEADER_BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
HEADER_BATCH_COMMIT: Final = "Nats-Batch-Commit"

HEADER_DEAD_REASON: Final = "Rag-Dead-Reason"
HEADER_DEAD_CODE: Final = "Rag-Dead-Code"
HEADER_DEAD_ERROR: Final = "Rag-Dead-Error"
HEADER_DEAD_FIELD: Final = "Rag-Dead-Field"
HEADER_DEAD_SUBJECT: Final = "Rag-Dead-Subject"
HEADER_DEAD_STREAM: Final = "Rag-Dead-Stream"
HEADER_DEAD_SEQUENCE: Final = "Rag-Dead-Sequence"
HEADER_DEAD_CONSUMER: Final = "Rag-Dead-Consumer"
HEADER_DEAD_DELIVERIES: Final = "Rag-Dead-Deliveries"
HEADER_DEAD_OBJECT: Final = "Rag-Dead-Object"
DEAD_HEADER_PREFIX: Final = "Rag-Dead-"
DEAD_ORIGINAL_PREFIX: Final = "Rag-Dead-Original-"
DEAD_OBJECT_PREFIX: Final = "dead/"

CONTENT_TYPE_JSON: Final = "application/json"
CONTENT_TYPE_MSGPACK: Final = "application/msgpack"

TENANT_PATTERN: Final = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
TOOL_NAME: Final = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
_INGEST_PREFIX: Final = "rag.v1.ingest."
_LETTER_HEADERS: Final = frozenset({HEADER_TRACEPARENT, HEADER_TRACESTATE, HEADER_TENANT.lower()})


def ingest(tenant: str) -> str:
    """Return the ingestion subject of a tenant; ValueError when the name could reach beyond one subject token."""
    if not TENANT_PATTERN.match(tenant):
        raise ValueError(f"tenant {tenant!r} is not of the form {TENANT_PATTERN.pattern}")
    return _INGEST_PREFIX + tenant


def tenant_of(subject: str) -> str:
    """Return the tenant that an ingestion subject names; ValueError when it names none that is valid."""
    tenant = subject.removeprefix(_INGEST_PREFIX)
    if tenant == subject or not TENANT_PATTERN.match(tenant):
        raise ValueError(f"subject {subject!r} names no valid tenant; a tenant is of the form {TENANT_PATTERN.pattern}")
    return tenant


def answers(query_id: str) -> str:
    """Return the subject on which the events of one answer are published."""
    return f"rag.v1.answers.{query_id}"


def told(query_id: str) -> str:
    """Return the subject on which the broker repeats the events of one answer once they are stored."""
    return f"rag.v1.told.{query_id}"


def listening(query_id: str) -> str:
    """Return the subject on which gateways say that somebody reads the events of one answer."""
    return f"rag.v1.listening.{query_id}"


def query_of(subject: str) -> str:
    """Return the id of the question that a subject of answers names."""
    return subject.rpartition(".")[2]


def tool(name: str) -> str:
    """Return the subject on which a tool of the agent answers."""
    return f"rag.v1.tools.{name}"


def dead(consumer: str) -> str:
    """Return the dead-letter subject of a durable consumer."""
    return f"rag.v1.dead.{consumer}"


def header_in_letter(name: str) -> str:
    """Return the name under which a dead letter keeps a header of its message.

    A header that means something on the letter itself gets a prefix: it must neither be lost nor take effect.
    """
    return DEAD_ORIGINAL_PREFIX + name if _speaks_of_letter(name) else name


def header_of_original(name: str) -> str | None:
    """Return the name that a letter's header had on its message, None for one that speaks of the letter."""
    if name.startswith(DEAD_ORIGINAL_PREFIX):
        return name.removeprefix(DEAD_ORIGINAL_PREFIX)
    return None if _speaks_of_letter(name) else name


def _speaks_of_letter(name: str) -> bool:
    return name.lower().startswith(("nats-", "rag-dead-")) or name.lower() in _LETTER_HEADERS


def template_of(subject: str) -> str:
    """Return the low-cardinality form of a subject, for span names and metric labels."""
    for prefix, template in (
        (_INGEST_PREFIX, INGEST_TEMPLATE),
        ("rag.v1.answers.", ANSWERS_TEMPLATE),
        ("rag.v1.told.", TOLD_TEMPLATE),
        ("rag.v1.listening.", LISTENING_TEMPLATE),
        ("rag.v1.dead.", DEAD_TEMPLATE),
        ("rag.v1.tools.", TOOL_TEMPLATE),
    ):
        if subject.startswith(prefix):
            return template
    return subject if subject.startswith("rag.v1.") else "other"
