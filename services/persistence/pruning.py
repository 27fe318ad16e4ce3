"""Removes what was kept long enough, a bounded number of rows at a time."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Table

from services.persistence import letters
from services.persistence.models import DEAD_LETTERS, IDEMPOTENCY_KEYS
from services.persistence.nats_streams import NatsStreams
from services.persistence.settings import PersistenceSettings
from services.persistence.store import prune
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Unavailable
from shared.logs import get_logger

log = get_logger(__name__)


async def prune_forever(writer: GroupCommit, streams: NatsStreams, settings: PersistenceSettings) -> None:
    """Prune until cancelled; an outage only puts it off."""
    keep = {
        IDEMPOTENCY_KEYS: settings.idempotency_keep_seconds,
        DEAD_LETTERS: settings.persistence_dead_letter_keep_seconds,
    }
    while True:
        await asyncio.sleep(settings.persistence_prune_interval_seconds)
        for table, keep_seconds in keep.items():
            try:
                await prune_table(writer, table, keep_seconds, settings.persistence_prune_rows)
            except Unavailable as error:
                log.warning("pruning_put_off", table=table.name, reason=error.message)
        try:
            await prune_letters(writer, streams, settings.persistence_prune_rows)
        except Unavailable as error:
            log.warning("pruning_put_off", table=DEAD_LETTERS.name, reason=error.message)


async def prune_letters(writer: GroupCommit, streams: NatsStreams, at_most: int) -> int:
    """Remove letters that a full DEAD stream has let go of, which bounds the table as well; return how many."""
    unit = partial(letters.remove_before, sequence=await streams.first_letter(), at_most=at_most)
    removed = await writer.run(f"prune {DEAD_LETTERS.name}", unit)
    if removed:
        log.info("pruned", table=DEAD_LETTERS.name, rows=removed)
    return removed


async def prune_table(writer: GroupCommit, table: Table, keep_seconds: float, at_most: int) -> int:
    """Remove rows of a table that are older than it keeps them; return how many."""
    older_than = datetime.now(UTC) - timedelta(seconds=keep_seconds)
    removed = await writer.run(
        f"prune {table.name}", partial(prune, table=table, older_than=older_than, at_most=at_most)
    )
    if removed:
        log.info("pruned", table=table.name, rows=removed)
    return removed
