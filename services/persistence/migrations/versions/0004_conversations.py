"""Conversations with their turns, the questions that were asked, and feedback."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
OBJECT = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _create_conversations()
    _create_feedback()


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("turn_count", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "conversation_id", name="pk_conversations"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_conversations_tenant_updated_at_conversation_id",
        "conversations",
        ["tenant", "updated_at", "conversation_id"],
    )
    op.create_index("ix_conversations_updated_at", "conversations", ["updated_at"])
    op.create_table(
        "conversation_turns",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("query_id", ID, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("stand_alone", sa.Text),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("citations", OBJECT, nullable=False),
        sa.Column("shortened", sa.Boolean, nullable=False),
        sa.Column("trace_id", ID),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "conversation_id", "query_id", name="pk_conversation_turns"),
    )
    op.create_index(
        "ix_conversation_turns_tenant_conversation_id_asked_at_query_id",
        "conversation_turns",
        ["tenant", "conversation_id", "asked_at", "query_id"],
    )
    op.create_table(
        "deleted_conversations",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "conversation_id", name="pk_deleted_conversations"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_deleted_conversations_created_at", "deleted_conversations", ["created_at"])


def _create_feedback() -> None:
    op.create_table(
        "queries",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("query_id", ID, nullable=False),
        sa.Column("trace_id", ID),
        sa.Column("conversation_id", ID),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "query_id", name="pk_queries"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_queries_created_at", "queries", ["created_at"])
    op.create_table(
        "feedback",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("query_id", ID, nullable=False),
        sa.Column("rating", ID, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("trace_id", ID),
        sa.Column("conversation_id", ID),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "query_id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_created_at", "feedback", ["created_at"])
    op.create_index("ix_feedback_tenant_conversation_id", "feedback", ["tenant", "conversation_id"])


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    for table in ("feedback", "queries", "deleted_conversations", "conversation_turns", "conversations"):
        op.drop_table(table)
