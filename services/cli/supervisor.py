"""One child process that is kept running: started, listened to, started again when it dies, ended when told."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.cli import die_with_parent
from services.cli.errors import CommandError
from services.cli.priority import step_back
from services.cli.process_logs import ProcessLog
from shared.settings import EXIT_MISCONFIGURED, PROJECT_ROOT

FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 30.0
HEALTHY_AFTER_SECONDS: Final = 60.0
# A process that never became ready and dies again and again will not get there by itself.
MAX_DEATHS_BEFORE_READY: Final = 3
LEFTOVER_OUTPUT_SECONDS: Final = 1.0
READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run; `ready_url` answers 200 when the process takes work, `live_url` unless a restart would help it.

    `niceness` (0 to 19) is how far it steps back behind the others when the processor is short.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready_url: str
    live_url: str
    niceness: int = 0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Delays before the next start, doubling from `first_seconds`, from the beginning after `healthy_after_seconds`."""

    first_seconds: float = FIRST_DELAY_SECONDS
    longest_seconds: float = LONGEST_DELAY_SECONDS
    healthy_after_seconds: float = HEALTHY_AFTER_SECONDS


class ProcessFailed(CommandError):
    """A process can't be started; the message ends with the last lines that it printed."""


class SupervisedProcess:
    """Keeps one process running; `restarted` is set whenever it had to be started again.

    `held` descriptors stay open in it, so that a lock lives as long as it does.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        log: ProcessLog,
        say: Callable[[str], None],
        *,
        held: tuple[int, ...] = (),
        policy: RestartPolicy | None = None,
    ) -> None:
        self.spec = spec
        self.was_ready = False
        self.restarted = asyncio.Event()
        self._log = log
        self._say = say
        self._held = held
        self._policy = policy or RestartPolicy()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._end_with: signal.Signals | None = None
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """Return the process id, or None while nothing runs."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Run the process until `hold` and `terminate`; ProcessFailed when it can't be brought to run."""
        delay = self._policy.first_seconds
        while not self._stopping.is_set():
            started = time.monotonic()
            ending = await self._run_once()
            if self._stopping.is_set():
                return
            self._count_death(ending)
            lived = time.monotonic() - started
            if lived >= self._policy.healthy_after_seconds:
                delay = self._policy.first_seconds
            self._say(f"{self.spec.name} ended with {ending} after {lived:.1f} s; it starts again in {delay:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            self.restarted.set()
            delay = min(delay * 2, self._policy.longest_seconds)

    def hold(self) -> None:
        """Do not start the process again when it ends."""
        self._stopping.set()

    def terminate(self) -> None:
        """Ask the process to end, also one that is just being started."""
        self._end_with = signal.SIGTERM
        self._signal()

    def kill(self) -> None:
        """End the process, and what it started, at once."""
        self._end_with = signal.SIGKILL
        self._signal()

    def kill_and_restart(self) -> None:
        """End the process, and what it started, at once; it starts again like one that died."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self) -> None:
        self.hold()
        if self._process is None or self._end_with is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._end_with is signal.SIGKILL:
                # It leads a process group of its own, which may hold children that would be left over.
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.send_signal(self._end_with)

    async def _run_once(self) -> "Ending":
        try:
            self._process = process = await self._start()
        except OSError as error:
            return Ending(None, error.strerror or str(error))
        step_back(process.pid, self.spec.niceness)
        if self._end_with is not None:
            self._signal()
        reading = asyncio.create_task(self._read(process))
        try:
            code = await process.wait()
            await asyncio.wait({reading}, timeout=LEFTOVER_OUTPUT_SECONDS)
        finally:
            reading.cancel()
            self._log.end()
            self._process = None
        return Ending(code)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *_tied_to_us(self.spec.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.spec.environment),
            cwd=PROJECT_ROOT,
            pass_fds=self._held,
            # Ctrl-C reaches the launcher alone, which then ends the processes in order.
            start_new_session=True,
        )

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            while chunk := await process.stdout.read(READ_BYTES):
                self._log.feed(chunk)

    def _count_death(self, ending: "Ending") -> None:
        self._deaths += 1
        if self.was_ready or (ending.code != EXIT_MISCONFIGURED and self._deaths < MAX_DEATHS_BEFORE_READY):
            return
        lines = "\n".join(f"  {line}" for line in self._log.last_lines)
        times = "" if ending.code == EXIT_MISCONFIGURED else f" {self._deaths} times"
        raise ProcessFailed(f"{self.spec.name} cannot start: it ended{times} with {ending}; its last lines:\n{lines}")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended: an exit code, minus the number of a signal, or why it could not even be started."""

    code: int | None
    reason: str = ""

    def __str__(self) -> str:
        if self.code is None:
            return f"no process ({self.reason})"
        if self.code >= 0:
            return f"exit code {self.code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-self.code).name}"
        return f"signal {-self.code}"


def _tied_to_us(command: tuple[str, ...]) -> tuple[str, ...]:
    program = str(Path(die_with_parent.__file__).resolve())
    return (sys.executable, "-I", "-S", program, str(os.getpid()), *command)
