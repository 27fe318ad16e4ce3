"""What documents count against the quota of their tenant; those from before count 0 bytes until they are sent again."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEX = "ix_documents_usage"
COLUMNS = ("size_bytes", "visible_bytes", "ahead_bytes")


def upgrade() -> None:
    """Create the columns, with a default for replicas that do not know them, and the index of the sums."""
    for name in COLUMNS:
        op.add_column("documents", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.create_index(INDEX, "documents", ["tenant", "status", "visible_revision", "size_bytes", "visible_bytes"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index(INDEX, "documents")
    for name in reversed(COLUMNS):
        op.drop_column("documents", name)
