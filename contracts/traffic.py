"""Who sends and who hears what: every subject of the platform, with the services on both of its ends.

The broker's permissions are derived from this table (`contracts/permissions.py`). A subject that is missing here is
refused by the broker for everybody; a test names it.
"""

from dataclasses import dataclass
from typing import Final

from contracts import subjects, topology

GATEWAY: Final = "gateway"
PARSER: Final = "parser"
EMBEDDER: Final = "embedder"
RETRIEVER: Final = "retriever"
AGENT: Final = "agent"
PERSISTENCE: Final = "persistence"
SERVICES: Final = (GATEWAY, PARSER, EMBEDDER, RETRIEVER, AGENT, PERSISTENCE)


@dataclass(frozen=True, slots=True)
class Traffic:
    """One subject or template: who publishes or asks, who listens to it as it happens, and who answers requests.

    Who reads it out of a stream, by a durable consumer, is the topology's to say. `outside`: also programs that are no
    service publish or answer here, each as a user of its own.
    """

    subject: str
    sends: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    outside: bool = False


def _asked(subject: str, *askers: str, of: str) -> Traffic:
    return Traffic(subject, sends=askers, answers=(of,))


# Persistence sends dead letters again, which may have come from any of the streams of documents and of facts.
TRAFFIC: Final = (
    Traffic(subjects.INGEST_TEMPLATE, (GATEWAY, PERSISTENCE), outside=True),
    Traffic(subjects.CHUNKS_READY, (PARSER, PERSISTENCE)),
    Traffic(subjects.CHUNKS_EMBEDDED, (EMBEDDER, PERSISTENCE)),
    Traffic(subjects.CONVERSATION_TURNS, (AGENT,)),
    Traffic(subjects.QUERIES_ASK, (GATEWAY,)),
    Traffic(subjects.ANSWERS_TEMPLATE, (AGENT,), hears=(GATEWAY,)),
    # The broker itself publishes here.
    Traffic(subjects.TOLD_TEMPLATE, hears=(GATEWAY,)),
    Traffic(subjects.LISTENING_TEMPLATE, (GATEWAY,), hears=(AGENT,)),
    # Each service also buries what its own durables brought.
    Traffic(subjects.DEAD_TEMPLATE, (PERSISTENCE,)),
    Traffic(subjects.DOCUMENT_ACCEPTED, (PERSISTENCE,), hears=(GATEWAY,)),
    Traffic(subjects.DOCUMENT_PARSED, (PARSER, PERSISTENCE), hears=(GATEWAY, PARSER)),
    Traffic(subjects.DOCUMENT_INDEXED, (PERSISTENCE,), hears=(GATEWAY,)),
    Traffic(subjects.DOCUMENT_SUPERSEDED, (PERSISTENCE,)),
    Traffic(subjects.DOCUMENT_DELETED, (PERSISTENCE,), hears=(GATEWAY,)),
    Traffic(subjects.DOCUMENT_FAILED, (PERSISTENCE,), hears=(GATEWAY,)),
    Traffic(subjects.CHUNKS_INDEXED, (RETRIEVER, PERSISTENCE)),
    Traffic(subjects.QUERY_ANSWERED, (AGENT, PERSISTENCE)),
    Traffic(subjects.QUERY_FAILED, (AGENT, PERSISTENCE)),
    Traffic(subjects.FEEDBACK_GIVEN, (GATEWAY, PERSISTENCE)),
    _asked(subjects.RETRIEVE, GATEWAY, AGENT, of=RETRIEVER),
    _asked(subjects.EMBED_QUERY, GATEWAY, RETRIEVER, AGENT, of=EMBEDDER),
    _asked(subjects.INDEX_EPOCH, AGENT, of=RETRIEVER),
    _asked(subjects.INDEX_FENCE, GATEWAY, PERSISTENCE, of=RETRIEVER),
    _asked(subjects.INDEX_FENCES, GATEWAY, PERSISTENCE, of=RETRIEVER),
    _asked(subjects.INDEX_REINDEX, GATEWAY, of=RETRIEVER),
    _asked(subjects.INDEX_REVISIONS, PERSISTENCE, of=RETRIEVER),
    _asked(subjects.INDEX_REMOVE, PERSISTENCE, of=RETRIEVER),
    _asked(subjects.READ_DOCUMENT, GATEWAY, PARSER, of=PERSISTENCE),
    _asked(subjects.READ_PASSAGES, GATEWAY, AGENT, of=RETRIEVER),
    _asked(subjects.READ_DOCUMENTS, GATEWAY, AGENT, of=PERSISTENCE),
    _asked(subjects.READ_COLLECTIONS, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_IDEMPOTENCY, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_USAGE, GATEWAY, PARSER, of=PERSISTENCE),
    _asked(subjects.READ_CONVERSATION, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_CONVERSATIONS, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_QUERY, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_DEAD_LETTER, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_DEAD_LETTERS, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_TRACE, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_TRACES, GATEWAY, of=PERSISTENCE),
    _asked(subjects.REPLAY_DEAD_LETTERS, GATEWAY, of=PERSISTENCE),
    _asked(subjects.DISCARD_DEAD_LETTER, GATEWAY, of=PERSISTENCE),
    _asked(subjects.CONVERSATION_HISTORY, AGENT, of=PERSISTENCE),
    _asked(subjects.RECORD_TURN, AGENT, of=PERSISTENCE),
    _asked(subjects.DELETE_CONVERSATION, GATEWAY, of=PERSISTENCE),
    _asked(subjects.RECONCILE, GATEWAY, of=PERSISTENCE),
    Traffic(subjects.AUDIT_KEY_USED, (GATEWAY, PERSISTENCE)),
    Traffic(subjects.AUDIT_AUTH_FAILED, (GATEWAY, PERSISTENCE)),
    Traffic(subjects.AUDIT_DELETED, (GATEWAY, PERSISTENCE)),
    Traffic(subjects.AUDIT_REPLAYED, (GATEWAY, PERSISTENCE)),
    Traffic(subjects.AUDIT_DISCARDED, (GATEWAY, PERSISTENCE)),
    Traffic(subjects.AUDIT_ADMIN_CALLED, (GATEWAY, PERSISTENCE)),
    Traffic(subjects.AUDIT_KEY_CREATED, (PERSISTENCE,)),
    Traffic(subjects.AUDIT_KEY_REVOKED, (PERSISTENCE,)),
    _asked(subjects.KEYS_CREATE, GATEWAY, of=PERSISTENCE),
    _asked(subjects.KEYS_LIST, GATEWAY, of=PERSISTENCE),
    _asked(subjects.KEYS_REVOKE, GATEWAY, of=PERSISTENCE),
    _asked(subjects.KEYS_CHANGES, GATEWAY, of=PERSISTENCE),
    _asked(subjects.READ_AUDIT, GATEWAY, of=PERSISTENCE),
    Traffic(subjects.KEYS_CHANGED, (PERSISTENCE,), hears=(GATEWAY,)),
    Traffic(subjects.HEALTH, (GATEWAY,), answers=SERVICES),
    Traffic(subjects.TOOL_TEMPLATE, (AGENT,), outside=True),
)

# Which service works on what a durable consumer brings.
CONSUMED_BY: Final = {
    topology.PARSER: PARSER,
    topology.INTAKE: PERSISTENCE,
    topology.EMBEDDER: EMBEDDER,
    topology.RETRIEVER: RETRIEVER,
    topology.PERSISTENCE: PERSISTENCE,
    topology.CLEANUP: RETRIEVER,
    topology.AGENT: AGENT,
    topology.TURNS: PERSISTENCE,
    topology.DEAD_LETTERS: PERSISTENCE,
    topology.ADVISORIES: PERSISTENCE,
}
