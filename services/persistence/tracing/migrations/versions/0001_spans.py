"""Spans, and what those of a trace come to."""

import sqlalchemy as sa
from alembic import op

from services.persistence.column_types import CleanText, IdText

revision = "spans_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "traces",
        sa.Column("trace_id", IdText, nullable=False),
        sa.Column("tenant", IdText, nullable=False),
        sa.Column("name", CleanText, nullable=False),
        sa.Column("service", CleanText, nullable=False),
        sa.Column("services", CleanText, nullable=False),
        sa.Column("rooted", sa.Boolean, nullable=False),
        sa.Column("first_ns", sa.BigInteger, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        sa.Column("duration_ns", sa.BigInteger, nullable=False),
        sa.Column("spans", sa.Integer, nullable=False),
        sa.Column("dropped", sa.Integer, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("bulk", sa.Boolean, nullable=False),
        sa.Column("received_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("trace_id", "tenant", name="pk_traces"),
    )
    op.create_index("ix_traces_tenant_bulk_start_ns", "traces", ["tenant", "bulk", "start_ns"])
    op.create_index("ix_traces_tenant_start_ns", "traces", ["tenant", "start_ns"])
    op.create_index("ix_traces_start_ns", "traces", ["start_ns"])
    op.create_table(
        "spans",
        sa.Column("trace_id", IdText, nullable=False),
        sa.Column("tenant", IdText, nullable=False),
        sa.Column("span_id", IdText, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("trace_id", "tenant", "span_id", name="pk_spans"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("spans")
    op.drop_table("traces")
