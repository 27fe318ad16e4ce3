"""API keys, and who did what."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.String().with_variant(sa.String(collation="C"), "postgresql")
OBJECT = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", ID, nullable=False),
        sa.Column("prefix", ID, nullable=False),
        sa.Column("tenant", ID, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("scopes", OBJECT, nullable=False),
        sa.Column("digest", ID, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", ID),
        sa.Column("expires_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_version", "api_keys", ["version"], unique=True)
    op.create_index("ix_api_keys_created_at_key_id", "api_keys", ["created_at", "key_id"])
    op.create_index("ix_api_keys_tenant_created_at_key_id", "api_keys", ["tenant", "created_at", "key_id"])
    _create_audit()


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("tenant", ID, nullable=False),
        sa.Column("audit_id", ID, nullable=False),
        sa.Column("action", ID, nullable=False),
        sa.Column("actor", ID),
        sa.Column("method", ID),
        sa.Column("route", sa.Text),
        sa.Column("target", OBJECT, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("trace_id", ID),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "audit_id", name="pk_audit"),
    )
    op.create_index("ix_audit_tenant_created_at_audit_id", "audit", ["tenant", "created_at", "audit_id"])
    op.create_index("ix_audit_created_at", "audit", ["created_at"])


def downgrade() -> None:
    """Remove the tables with all that is in them."""
    op.drop_table("audit")
    op.drop_table("api_keys")
