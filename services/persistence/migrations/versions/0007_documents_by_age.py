"""Documents are listed by when they were added."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEX = "ix_documents_tenant_created_at_document_id"


def upgrade() -> None:
    """Create the index of the pages."""
    op.create_index(INDEX, "documents", ["tenant", "created_at", "document_id"])


def downgrade() -> None:
    """Remove it."""
    op.drop_index(INDEX, "documents")
