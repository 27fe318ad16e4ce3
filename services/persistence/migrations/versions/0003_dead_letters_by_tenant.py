"""Dead letters are listed by tenant."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX = "ix_dead_letters_tenant_sequence"


def upgrade() -> None:
    """Create the index of the pages."""
    op.create_index(INDEX, "dead_letters", ["tenant", "sequence"])


def downgrade() -> None:
    """Remove it."""
    op.drop_index(INDEX, "dead_letters")
