"""Work that one process does at a time, whichever it is."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, update
from sqlalchemy.dialects import postgresql, sqlite

from services.persistence.models import LEASES


def take_lease(connection: Connection, name: str, holder: str, now: datetime, seconds: float) -> bool:
    """Hold a lease, or hold it for longer; false while another process does."""
    columns = LEASES.c
    until = now + timedelta(seconds=seconds)
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(LEASES)
    first = connection.execute(insert.on_conflict_do_nothing(), {"name": name, "holder": holder, "expires_at": until})
    if first.rowcount == 1:
        return True
    ours = (columns.holder == holder) | (columns.expires_at < now)
    renewed = connection.execute(
        update(LEASES).where(columns.name == name, ours).values(holder=holder, expires_at=until)
    )
    return renewed.rowcount == 1
