"""When database and index are compared: by itself now and then, and whenever somebody asks."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from contracts.reconciliation import RECONCILE_STEP_SECONDS, ReconcileReply, ReconcileRequest
from services.persistence.leases import take_lease
from services.persistence.reconciliation import Reconciliation
from services.persistence.settings import PersistenceSettings
from services.persistence.unit_of_work import GroupCommit
from shared.errors import PlatformError
from shared.logs import get_logger
from shared.metrics import ReconcileMetrics

log = get_logger(__name__)

LEASE: Final = "reconcile"
REPAIRED: Final = "repaired"


class Reconciling:
    """Runs steps one at a time in this process, counts what they find and remembers it for `/health`."""

    def __init__(
        self,
        reconciliation: Reconciliation,
        writer: GroupCommit,
        metrics: ReconcileMetrics,
        settings: PersistenceSettings,
    ) -> None:
        self._reconciliation = reconciliation
        self._writer = writer
        self._metrics = metrics
        self._settings = settings
        self._one_at_a_time = asyncio.Lock()
        self._cursor: str | None = None
        self._pass: Counter[str] = Counter()
        self._last: dict[str, Any] = {}

    async def on_step(self, request: ReconcileRequest, _deadline: float | None) -> ReconcileReply:
        """Do a step that somebody asked for."""
        return await self._step(request)

    async def run(self) -> None:
        """Compare until cancelled; what fails only puts it off."""
        while True:
            await asyncio.sleep(self._settings.persistence_reconcile_interval_seconds)
            try:
                await self.run_once()
            except PlatformError as error:
                log.warning("reconciliation_put_off", reason=error)
            except Exception as error:  # Whatever it was, the next run must come.
                log.error("reconciliation_fault", exc_info=error)

    async def run_once(self) -> None:
        """Do a bounded number of steps from where the last run ended, unless another process is at it."""
        for _ in range(self._settings.persistence_reconcile_steps):
            if not await self._hold():
                return
            reply = await self._step(ReconcileRequest(cursor=self._cursor))
            self._take_in(reply)
            if reply.cursor is None:
                return

    async def check(self) -> dict[str, Any]:
        """Return what the last complete pass found; it never fails, a difference is no reason to take no work."""
        if not self._last:
            return {"last_pass": None}  # nosec B105: a time, no password
        return {key: value for key, value in self._last.items() if key != "at"} | {
            "age_seconds": round(time.monotonic() - self._last["at"], 1)
        }

    async def _step(self, request: ReconcileRequest) -> ReconcileReply:
        async with self._one_at_a_time:
            reply = await self._reconciliation.step(request)
        for kind, outcomes in reply.counts.items():
            for outcome, number in outcomes.items():
                self._metrics.differences.add(number, {"kind": kind, "outcome": outcome})
        for finding in reply.findings:
            log.warning("index_differs", **finding.model_dump(exclude_none=True))
        return reply

    def _take_in(self, reply: ReconcileReply) -> None:
        """Add a step to the pass, and close the pass with its last step."""
        self._cursor = reply.cursor
        self._pass.update(documents=reply.documents, points=reply.points)
        for kind, outcomes in reply.counts.items():
            self._pass.update({f"{kind}_{outcome}": number for outcome, number in outcomes.items()})
        if reply.cursor is not None:
            return
        found, self._pass = self._pass, Counter()
        looked_at = {name: found.pop(name) for name in ("documents", "points")}
        unrepaired = sum(number for name, number in found.items() if not name.endswith(REPAIRED))
        self._metrics.passed(unrepaired)
        last_pass = datetime.now(UTC).isoformat(timespec="seconds")
        self._last = {"last_pass": last_pass, "at": time.monotonic(), **looked_at, "differences": dict(found)}
        log.info("reconciled", **looked_at, differences=dict(found))

    async def _hold(self) -> bool:
        """Keep other processes from comparing until this one has stopped for long enough."""
        seconds = RECONCILE_STEP_SECONDS + self._settings.persistence_reconcile_interval_seconds
        unit = partial(take_lease, name=LEASE, holder=self._settings.instance, now=datetime.now(UTC), seconds=seconds)
        return await self._writer.run(f"lease {LEASE}", unit)
