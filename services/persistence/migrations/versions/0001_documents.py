"""Documents, their batches, idempotency keys, dead letters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _create_documents()
    _create_indexed_batches()
    _create_idempotency_keys()
    _create_dead_letters()


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    for table in ("dead_letters", "idempotency_keys", "indexed_batches", "documents"):
        op.drop_table(table)


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("status", ID),
        sa.Column("collection", ID, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("uri", sa.Text),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("batches", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("chunks_indexed", sa.Integer, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("visible_revision", sa.BigInteger, nullable=False),
        sa.Column("visible_chunks", sa.Integer, nullable=False),
        sa.Column("ahead", JSON),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "document_id", name="pk_documents"),
    )
    _create_index("documents", "tenant", "collection", "document_id")
    _create_index("documents", "tenant", "status", "document_id")
    _create_index("documents", "tenant", "collection", "status", "visible_chunks")


def _create_indexed_batches() -> None:
    op.create_table(
        "indexed_batches",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "document_id", "revision", "batch", name="pk_indexed_batches"),
        sqlite_with_rowid=False,
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("collection", ID, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("digest", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_idempotency_keys"),
        sqlite_with_rowid=False,
    )
    _create_index("idempotency_keys", "created_at")


def _create_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("sequence", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("stream_sequence", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("tenant", ID, nullable=False),
        sa.Column("document_id", ID),
        sa.Column("revision", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("field", sa.Text),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("object_name", sa.Text),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("traceparent", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_dead_letters"),
    )
    _create_index("dead_letters", "consumer", "stream", "stream_sequence")
    _create_index("dead_letters", "created_at")


def _create_index(table: str, *columns: str) -> None:
    op.create_index("_".join(["ix", table, *columns]), table, list(columns))
