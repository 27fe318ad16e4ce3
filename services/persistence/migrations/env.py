"""What Alembic runs to migrate, or to compare the models with, the connection that it is given."""

from alembic import context

from services.persistence.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
