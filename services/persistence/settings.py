"""Settings of the persistence service."""

from pydantic import Field

from shared.settings import MIB, PlatformSettings

DAY_SECONDS = 24 * 60 * 60.0


class PersistenceSettings(PlatformSettings):
    """Where the database is, and how much is done at the same time."""

    database_url: str | None = Field(
        default=None, repr=False, description="PostgreSQL address; none = SQLite in `rag.db` of the data folder."
    )
    idempotency_keep_seconds: float = Field(
        default=DAY_SECONDS, gt=0, description="How long an idempotency key is remembered."
    )
    persistence_dead_letter_keep_seconds: float = Field(
        default=30 * DAY_SECONDS, gt=0, description="How long a dead letter is kept; the DEAD stream keeps it as long."
    )
    persistence_conversation_max_turns: int = Field(
        default=500, ge=1, le=10_000, description="Turns of one conversation that are kept; the oldest go."
    )
    persistence_conversation_keep_seconds: float = Field(
        default=365 * DAY_SECONDS, gt=0, description="How long a conversation is kept that nobody uses."
    )
    # A turn may lie in a dead letter for 30 days, and be sent again on the last one.
    persistence_deleted_conversation_keep_seconds: float = Field(
        default=40 * DAY_SECONDS, gt=0, description="How long the id of a deleted conversation is not used again."
    )
    persistence_query_keep_seconds: float = Field(
        default=30 * DAY_SECONDS, gt=0, description="How long feedback may be given to an answer."
    )
    persistence_feedback_keep_seconds: float = Field(
        default=365 * DAY_SECONDS, gt=0, description="How long feedback is kept."
    )
    persistence_audit_keep_seconds: float = Field(
        default=365 * DAY_SECONDS, gt=0, description="How long the audit is kept."
    )
    persistence_audit_max: int = Field(
        default=200_000, ge=1_000, description="Entries of the audit of all tenants that are kept; the oldest go."
    )
    persistence_key_keep_seconds: float = Field(
        default=365 * DAY_SECONDS, gt=0, description="How long a key is listed after it was revoked or has expired."
    )
    persistence_workers: int = Field(
        default=32, ge=1, le=256, description="Messages of each main consumer in work at the same time."
    )
    persistence_early_messages: int = Field(
        default=8, ge=0, le=64, description="Documents recorded past a backlog of other tenants at once (0 = none)."
    )
    persistence_early_look_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Time between looks at who else waits, while documents are in work."
    )
    persistence_write_threads: int = Field(
        default=2, ge=1, le=16, description="Writing connections to PostgreSQL; SQLite always has one."
    )
    persistence_read_threads: int = Field(default=4, ge=1, le=64, description="Reading connections.")
    persistence_max_batch: int = Field(default=64, ge=1, le=1_000, description="Units of work in one commit.")
    # A message that is given back has used up one of its bounded deliveries; one that waits here has not.
    persistence_outage_patience_seconds: float = Field(
        default=DAY_SECONDS, ge=0, description="How long a message waits for a database that is away."
    )
    persistence_connect_seconds: float = Field(
        default=30.0, gt=0, description="How long to try to reach the database at start."
    )
    persistence_busy_timeout_seconds: float = Field(
        default=5.0, gt=0, description="How long SQLite waits for another process's write lock."
    )
    persistence_statement_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Longest a PostgreSQL statement may take."
    )
    persistence_max_page_bytes: int = Field(
        default=512 * 1024, ge=1_024, description="Size of a page of documents; must fit the broker's payload limit."
    )
    persistence_reconcile_interval_seconds: float = Field(
        default=900.0, ge=0, description="Pause between two runs that compare database and index; 0 = only by hand."
    )
    persistence_reconcile_steps: int = Field(
        default=30, ge=1, description="Steps of one such run, each some two seconds; the next run goes on from there."
    )
    persistence_reconcile_settle_seconds: float = Field(
        default=10.0, ge=0, le=40, description="How long a difference may settle by itself before the second look."
    )
    persistence_unfinished_after_seconds: float = Field(
        default=600.0, gt=0, description="How long a document may stand still before its messages are looked for."
    )
    persistence_prune_interval_seconds: float = Field(
        default=60.0, gt=0, description="Pause between two removals of what is kept long enough."
    )
    persistence_prune_rows: int = Field(default=1_000, ge=1, description="Rows of a table removed at a time.")
    persistence_spans_max: int = Field(
        default=100_000, ge=1_000, description="Spans kept for `rag trace`, some 700 bytes each; the oldest go."
    )
    persistence_spans_max_of_trace: int = Field(
        default=5_000, ge=100, description="Spans kept of one trace; more are counted only."
    )
    persistence_spans_keep_seconds: float = Field(
        default=7 * DAY_SECONDS, gt=0, description="How long a trace is kept."
    )
    persistence_spans_queue_bytes: int = Field(
        default=8 * MIB, ge=64 * 1024, description="Bytes of spans that wait to be written; then exporters get a 503."
    )
    persistence_spans_max_body_bytes: int = Field(
        default=4 * MIB, ge=64 * 1024, description="Size of one export as it comes."
    )
    persistence_spans_max_unpacked_bytes: int = Field(
        default=16 * MIB, ge=64 * 1024, description="Size of one export when it is unpacked."
    )
