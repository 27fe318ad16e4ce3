"""Removes what was kept long enough, a bounded number of rows at a time."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Table

from services.persistence import api_keys, audit_log, conversations, letters
from services.persistence.models import (
    API_KEYS,
    AUDIT,
    CONVERSATIONS,
    DEAD_LETTERS,
    DELETED_CONVERSATIONS,
    FEEDBACK,
    IDEMPOTENCY_KEYS,
    QUERIES,
)
from services.persistence.nats_streams import NatsStreams
from services.persistence.read_pool import ReadPool
from services.persistence.settings import PersistenceSettings
from services.persistence.store import prune
from services.persistence.unit_of_work import GroupCommit
from shared.errors import Unavailable
from shared.logs import get_logger

log = get_logger(__name__)


async def prune_forever(
    writer: GroupCommit, pool: ReadPool, streams: NatsStreams, settings: PersistenceSettings
) -> None:
    """Prune until cancelled; an outage only puts it off."""
    keep = {
        IDEMPOTENCY_KEYS: settings.idempotency_keep_seconds,
        DEAD_LETTERS: settings.persistence_dead_letter_keep_seconds,
        DELETED_CONVERSATIONS: settings.persistence_deleted_conversation_keep_seconds,
        QUERIES: settings.persistence_query_keep_seconds,
        FEEDBACK: settings.persistence_feedback_keep_seconds,
        AUDIT: settings.persistence_audit_keep_seconds,
    }
    while True:
        await asyncio.sleep(settings.persistence_prune_interval_seconds)
        for table, keep_seconds in keep.items():
            try:
                await prune_table(writer, table, keep_seconds, settings.persistence_prune_rows)
            except Unavailable as error:
                log.warning("pruning_put_off", table=table.name, reason=error)
        try:
            await prune_keys_and_audit(writer, settings)
        except Unavailable as error:
            log.warning("pruning_put_off", table=API_KEYS.name, reason=error)
        try:
            await prune_letters(writer, streams, settings.persistence_prune_rows)
        except Unavailable as error:
            log.warning("pruning_put_off", table=DEAD_LETTERS.name, reason=error)
        try:
            keep_seconds = settings.persistence_conversation_keep_seconds
            await prune_conversations(writer, pool, keep_seconds, settings.persistence_prune_rows)
        except Unavailable as error:
            log.warning("pruning_put_off", table=CONVERSATIONS.name, reason=error)


async def prune_conversations(writer: GroupCommit, pool: ReadPool, keep_seconds: float, at_most: int) -> int:
    """Remove conversations that nobody has used for so long, each in a unit of its own; return how many."""
    moment = datetime.now(UTC) - timedelta(seconds=keep_seconds)
    unused = await pool.run(partial(conversations.unused_since, moment=moment, at_most=at_most))
    units = [
        writer.run(
            conversations.key_of_conversation(*key),
            partial(conversations.forget, tenant=key[0], conversation_id=key[1], unused_since=moment),
        )
        for key in unused
    ]
    removed = sum(await asyncio.gather(*units))
    if removed:
        log.info("pruned", table=CONVERSATIONS.name, rows=removed)
    return removed


async def prune_keys_and_audit(writer: GroupCommit, settings: PersistenceSettings) -> None:
    """Remove keys that open nothing for so long, and what is over the size of the audit."""
    before = datetime.now(UTC) - timedelta(seconds=settings.persistence_key_keep_seconds)
    rows = settings.persistence_prune_rows
    forget = partial(api_keys.forget_dead, before=before, at_most=rows)
    beyond = partial(audit_log.drop_beyond, most=settings.persistence_audit_max, at_most=rows)
    removed = {
        API_KEYS.name: await writer.run(api_keys.WRITING_KEYS, forget),
        AUDIT.name: await writer.run(f"prune {AUDIT.name}", beyond),
    }
    for table, count in removed.items():
        if count:
            log.info("pruned", table=table, rows=count)


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
