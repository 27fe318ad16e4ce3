"""Deletes of whole collections, leases, and documents in the order of what the index shows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables and the index."""
    op.create_table(
        "collection_deletes",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("collection", ID, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("swept_revision", sa.BigInteger, nullable=False),
        sa.Column("swept_to", ID),
        sa.Column("rewinds", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "collection", name="pk_collection_deletes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leases",
        sa.Column("name", ID, nullable=False),
        sa.Column("holder", ID, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_documents_visible_revision", "documents", ["visible_revision"])


def downgrade() -> None:
    """Remove the index, and the tables with all that is in them."""
    op.drop_index("ix_documents_visible_revision", "documents")
    op.drop_table("leases")
    op.drop_table("collection_deletes")
