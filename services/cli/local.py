"""The launcher behind `rag up`: a broker and all services on this machine, from start to an orderly end.

Start: broker and services at once, topology as soon as the broker answers, ready when every process says so.
End: in order of the work (see STOP_ORDER), within a bound, after which what is left is killed.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from contracts.permissions import PROVISIONER
from services.cli.broker_config import BrokerOptions, broker_config
from services.cli.data_folder import write_private
from services.cli.errors import EXIT_FAILURE, CommandError
from services.cli.liveness import keep_alive
from services.cli.plan import BROKER, STOP_ORDER, Plan, service_of
from services.cli.process_logs import LineWriter, ProcessLog, line_prefixes
from services.cli.readiness import wait_until_ready
from services.cli.settings import load
from services.cli.supervisor import ProcessSpec, SupervisedProcess

START_TIMEOUT_SECONDS: Final = 120.0
STOP_TIMEOUT_SECONDS: Final = 30.0
# Two seconds of the above are kept for each service that ends later.
LATER_SHARES: Final = 15
KILLED_TIMEOUT_SECONDS: Final = 5.0
BROKER_CONNECT_SECONDS: Final = 2.0
DECLARE_AGAIN_SECONDS: Final = 1.0
CANCEL_AGAIN_SECONDS: Final = 0.2
LAUNCHER: Final = "rag"
# The broker's start-up banner, and its remark on a password that lies in a file only the owner may read.
_HIDDEN: Final = {BROKER: ("[INF]", "[WRN] Plaintext passwords detected")}


@dataclass(frozen=True, slots=True)
class Ready:
    """What there is to say once everything runs; `pids` by process name."""

    pids: dict[str, int]
    seconds: float


@dataclass(slots=True)
class Launcher:
    """Runs a plan; `announce` is called once, when all is ready; `started` is the command's monotonic time."""

    plan: Plan
    terminal: LineWriter
    coloured: bool
    announce: Callable[[Ready], None]
    lock: int
    stop_timeout_seconds: float
    started: float
    _processes: list[SupervisedProcess] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _logs: list[ProcessLog] = field(default_factory=list)
    _stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _kill_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _killed: int = 0

    async def run(self) -> int:
        """Return the exit code after the end: 0, or 1 when processes had to be killed.

        Raises CommandError when not everything can be brought to run.
        """
        self._listen_to_signals()
        try:
            self._start_processes()
            await self._until_stop_or_failure()
        finally:
            await self._stop()
            for log in self._logs:
                log.close()
        return EXIT_FAILURE if self._killed else 0

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        # Whoever starts this with `nohup` wants it to outlive the terminal.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            self._kill_asked.set()
        self._stop_asked.set()

    def _start_processes(self) -> None:
        self._configure_broker()
        specs = [self.plan.broker(), *self.plan.services()]
        names = [LAUNCHER, *(spec.name for spec in specs)]
        prefixes = line_prefixes(names, coloured=self.coloured)
        own = ProcessLog(LAUNCHER, self.plan.data.logs, self.terminal, prefixes[LAUNCHER])
        self._logs.append(own)
        for spec in specs:
            self._start(spec, prefixes[spec.name], own)

    def _configure_broker(self) -> None:
        # The gateway reads it from the file.
        self.plan.data.pepper()
        options = BrokerOptions(
            port=self.plan.ports.broker,
            monitor_port=self.plan.ports.monitor,
            store=self.plan.data.broker,
            passwords=self.plan.data.passwords(),
            tls=self.plan.tls,
            open_to_producers=self.plan.open_to_producers,
        )
        write_private(self.plan.data.broker_config, broker_config(options))

    def _start(self, spec: ProcessSpec, prefix: str, own: ProcessLog) -> None:
        log = ProcessLog(spec.name, self.plan.data.logs, self.terminal, prefix, _HIDDEN.get(spec.name, ()))
        self._logs.append(log)
        process = SupervisedProcess(spec, log, lambda text: _say(own, text), held=(self.lock,))
        self._processes.append(process)
        self._tasks[spec.name] = asyncio.create_task(process.run(), name=spec.name)

    async def _until_stop_or_failure(self) -> None:
        """Return when the end is asked for; raise what made the start fail."""
        stop = asyncio.create_task(self._stop_asked.wait())
        ready = asyncio.create_task(self._become_ready_and_stay_so())
        try:
            await _first_of(stop, ready, *self._tasks.values())
        finally:
            await _cancel(stop, ready)

    async def _become_ready_and_stay_so(self) -> None:
        broker, *services = self._processes
        await wait_until_ready([broker], START_TIMEOUT_SECONDS)
        await _declare_topology(self.plan)
        await wait_until_ready(services, START_TIMEOUT_SECONDS, self.plan.gateway_probe)
        pids = {process.spec.name: process.pid for process in self._processes if process.pid is not None}
        self.announce(Ready(pids, time.monotonic() - self.started))
        await asyncio.gather(self._keep_topology(broker), self._keep_alive())

    async def _keep_alive(self) -> None:
        if seconds := self.plan.unresponsive_seconds:
            say, probe = (lambda text: _say(self._logs[0], text)), self.plan.gateway_probe
            await keep_alive(self._processes, seconds, say, tls=probe)

    async def _keep_topology(self, broker: SupervisedProcess) -> None:
        while True:
            await self._declare_again_after_restart(broker)

    async def _declare_again_after_restart(self, broker: SupervisedProcess) -> None:
        """A broker that was started again has lost the streams that it keeps in memory."""
        await broker.restarted.wait()
        broker.restarted.clear()
        try:
            await wait_until_ready([broker], START_TIMEOUT_SECONDS)
            await _declare_topology(self.plan)
        except CommandError as error:
            _say(self._logs[0], f"the topology is not complete, trying again: {error}")
            await asyncio.sleep(DECLARE_AGAIN_SECONDS)
            broker.restarted.set()

    async def _stop(self) -> None:
        deadline = time.monotonic() + self.stop_timeout_seconds
        share = self.stop_timeout_seconds / LATER_SHARES
        for process in self._processes:
            process.hold()
        for place, name in enumerate(STOP_ORDER, start=1):
            # One that does not end must not take the time of those after it.
            until = deadline - share * (len(STOP_ORDER) - place)
            group = [process for process in self._processes if service_of(process.spec.name) == name]
            await self._end(group, until)

    async def _end(self, group: list[SupervisedProcess], until: float) -> None:
        for process in group:
            process.terminate()
        await self._wait_for_end(group, until - time.monotonic())
        left = [process for process in group if not self._tasks[process.spec.name].done()]
        for process in left:
            _say(self._logs[0], f"{process.spec.name} did not end in time and is killed")
            process.kill()
        self._killed += len(left)
        if left:
            await asyncio.wait([self._tasks[process.spec.name] for process in left], timeout=KILLED_TIMEOUT_SECONDS)

    async def _wait_for_end(self, group: list[SupervisedProcess], timeout_seconds: float) -> None:
        """Return when the group has ended, the time is up or a second signal came."""
        killed = asyncio.create_task(self._kill_asked.wait())
        ended = asyncio.gather(*(self._tasks[process.spec.name] for process in group), return_exceptions=True)
        watched: set[asyncio.Future[Any]] = {asyncio.shield(ended), killed}
        try:
            await asyncio.wait(watched, timeout=max(0.0, timeout_seconds), return_when=asyncio.FIRST_COMPLETED)
        finally:
            killed.cancel()


def caller_environment() -> dict[str, str]:
    """Return the whole environment, for the services to find their own settings in it."""
    return dict(os.environ)


async def _declare_topology(plan: Plan) -> None:
    # These take half a second to import, in which the services can already start.
    from services.cli.broker_access import BrokerLogin, jetstream
    from shared.messaging.broker_login import tls_context
    from shared.messaging.provisioning import provision
    from shared.settings import PlatformSettings

    tls = tls_context(load(PlatformSettings), plan.broker_url) if plan.tls else None
    login = BrokerLogin(plan.broker_url, PROVISIONER, plan.data.password(PROVISIONER), tls)
    async with jetstream(login, connect_seconds=BROKER_CONNECT_SECONDS) as js:
        await provision(js, replicas=1)


async def _first_of(*tasks: asyncio.Task[object]) -> None:
    """Return when the first task is done; raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    """Return when all tasks have ended; the broker's client swallows a cancellation that comes at a bad moment."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


def _say(log: ProcessLog, text: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    log.feed(f"{now} {text}\n".encode())
