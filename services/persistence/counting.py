"""Counts now and then what there is, beside the messages, so that a scrape never waits for the database."""

import asyncio
import time
from typing import Final

from services.persistence import figures
from services.persistence.metrics import FigureGauges
from services.persistence.read_pool import ReadPool
from shared.errors import Unavailable
from shared.logs import get_logger

log = get_logger(__name__)

COUNT_SECONDS: Final = 5.0
# Of one reading thread, however many documents there are.
_SHARE: Final = 0.05


async def count_forever(pool: ReadPool, gauges: FigureGauges) -> None:
    """Count until cancelled; while the database is away there are no figures rather than old ones."""
    while True:
        started = time.monotonic()
        try:
            gauges.shown = await pool.run(figures.count)
        except Unavailable:
            gauges.shown = None
        except Exception as error:  # Whatever it was, the next count must come.
            gauges.shown = None
            log.error("counting_fault", exc_info=error)
        await asyncio.sleep(max(COUNT_SECONDS, (time.monotonic() - started) / _SHARE))
