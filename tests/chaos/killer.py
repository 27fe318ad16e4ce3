"""Carries out the faults, and measures how long each process takes to come back."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psutil

from tests.chaos.faults import Fault, Kind
from tests.chaos.processes import BROKER, Consumption, Processes, consumers_of

POLL_SECONDS: Final = 0.1
# The supervisor waits at most 30 s before a start, and a start takes some seconds on a busy machine.
MISSING_SECONDS: Final = 90.0
RECOVERY_SECONDS: Final = 240.0
# How long a lost connection may be noticed after the process behind it was there again.
AFTERMATH_SECONDS: Final = 5.0
_ANSWERS_DEPEND_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("search", "question"),
    "embedder.queries": ("search",),
    "retriever": ("search",),
    "agent": ("question",),
    BROKER: ("search", "question"),
}


@dataclass(slots=True)
class Recovery:
    """One fault and what followed, in seconds after the kill or after the end of the freeze; None when it never came.

    `ready_seconds` until the process said so, `working_seconds` until it took messages again and callers were answered,
    `done_seconds` until all that had been in its hands was settled. Faults of others count in, where they overlap.
    """

    fault: Fault
    at: float
    ready_seconds: float | None = None
    working_seconds: float | None = None
    done_seconds: float | None = None


@dataclass(slots=True)
class Away:
    """When a process was killed or frozen and when it was ready again, in monotonic seconds."""

    since: float
    until: float | None = None

    def touches(self, since: float) -> bool:
        """Tell whether this lies at least partly after a moment."""
        return self.until is None or self.until + AFTERMATH_SECONDS >= since


@dataclass(slots=True)
class Killer:
    """Runs each target's faults one after the other, those of different targets side by side.

    `answered(kind, since)` tells whether a query of that kind that was sent after a monotonic moment got its answer.
    """

    processes: Processes
    faults: Mapping[str, Sequence[Fault]]
    answered: Callable[[str, float], bool]
    recoveries: list[Recovery] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _away: dict[str, list[Away]] = field(default_factory=dict)

    def was_away(self, name: str, since: float) -> bool:
        """Tell whether a process was dead, frozen or starting at any time since a monotonic moment."""
        return any(each.touches(since) for each in self._away.get(name, []))

    async def run(self, started: float) -> None:
        """Return when all faults are over and every process is back at work, or the time for it is up."""
        async with asyncio.TaskGroup() as group:
            for faults in self.faults.values():
                group.create_task(self._of_one(faults, started))

    async def _of_one(self, faults: Sequence[Fault], started: float) -> None:
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, started + fault.at - time.monotonic()))
                process = await self._find(fault.target)
                if process is None:
                    self.problems.append(f"{fault.target} did not run within {MISSING_SECONDS:g} s")
                    return
                away = Away(time.monotonic())
                self._away.setdefault(fault.target, []).append(away)
                await self._do(fault, process)
                group.create_task(self._measure(fault, process, away))

    async def _find(self, name: str) -> psutil.Process | None:
        until = time.monotonic() + MISSING_SECONDS
        while time.monotonic() < until:
            process = self.processes.find(name)
            if process is not None:
                return process
            await asyncio.sleep(POLL_SECONDS)
        return None

    async def _do(self, fault: Fault, process: psutil.Process) -> None:
        if fault.kind is Kind.KILL:
            process.send_signal(signal.SIGKILL)
            return
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        with contextlib.suppress(psutil.NoSuchProcess):  # Whoever supervises it may have replaced it meanwhile.
            process.send_signal(signal.SIGCONT)

    async def _measure(self, fault: Fault, before: psutil.Process, away: Away) -> None:
        """Note when the process is ready and when it works; the next fault of the same one ends the measurement."""
        started = time.monotonic()
        recovery = Recovery(fault, started)
        self.recoveries.append(recovery)
        while time.monotonic() < started + RECOVERY_SECONDS:
            current = self.processes.find(fault.target)
            replaced = current is not None and (fault.kind is Kind.FREEZE or current.pid != before.pid)
            if replaced and await self.processes.is_ready(fault.target):
                break
            await asyncio.sleep(POLL_SECONDS)
        else:
            self.problems.append(f"{fault.target} was not ready {RECOVERY_SECONDS:g} s after a {fault.kind}")
            return
        recovery.ready_seconds = time.monotonic() - started
        away.until = time.monotonic()
        until = started + RECOVERY_SECONDS
        recovery.working_seconds, recovery.done_seconds = await self._works(fault.target, started, until)
        if recovery.done_seconds is None:
            self.problems.append(f"{fault.target} was not at work {RECOVERY_SECONDS:g} s after a {fault.kind}")

    async def _works(self, name: str, started: float, until: float) -> tuple[float | None, float | None]:
        """Return when the process was seen at work, and when it was through with what had been in its hands."""
        since = time.monotonic()
        idle, behind = set(consumers_of(name)), set(consumers_of(name))
        unanswered = set(_ANSWERS_DEPEND_ON.get(name, ()))
        first: dict[str, Consumption] = {}
        working = None
        while time.monotonic() < until:
            found = await self.processes.consumption()
            first = {**found, **first}
            idle -= {each for each in idle & found.keys() if _takes(first[each], found[each])}
            behind -= {each for each in behind & found.keys() if _is_through(first[each], found[each])}
            unanswered -= {kind for kind in unanswered if self.answered(kind, since)}
            if working is None and not idle and not unanswered and (name != BROKER or found):
                working = time.monotonic() - started
            if working is not None and not behind:
                return working, time.monotonic() - started
            await asyncio.sleep(POLL_SECONDS)
        return working, None


def _takes(first: Consumption, now: Consumption) -> bool:
    return now.left == 0 or now.taken > first.taken


def _is_through(first: Consumption, now: Consumption) -> bool:
    return now.left == 0 or now.floor >= first.taken
