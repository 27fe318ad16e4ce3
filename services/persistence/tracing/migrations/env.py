"""What Alembic runs to migrate the span store on the connection that it is given."""

from alembic import context

from services.persistence.tracing.models import TraceBase

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TraceBase.metadata,
    # On PostgreSQL the store stands beside the documents, whose migrations keep their own place.
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
