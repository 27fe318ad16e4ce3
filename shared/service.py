"""One service process, from settings to exit; every service's `app.py` is a lifespan that registers its handlers here.

Start: connect, enter the service's lifespan, wait for the declared topology, consume, become ready.
Stop (SIGTERM): not ready, streams and waits end, no more fetching and no more requests taken, what was fetched is
finished or given back, leave the lifespan, close, flush telemetry, exit 0.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from faststream.nats import NatsBroker
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.object_store import ObjectStore
from starlette.types import ASGIApp

from contracts import subjects
from contracts.codec import DecodeError, decode, encode
from contracts.health import HealthRequest
from contracts.messages import Message
from contracts.topology import Consumer
from shared.ending import Ending, within
from shared.error_reports import flush_error_reports
from shared.errors import Misconfigured, PlatformError
from shared.health import CHECK_TIMEOUT_SECONDS, Health
from shared.logs import get_logger
from shared.messaging.broker import PendingLimits, build_broker, connect, settle, without_credentials
from shared.messaging.consuming import Draining, Handler, RawHandler, consume, consume_raw
from shared.messaging.consumption import Consumption
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.delivery import Delivery
from shared.messaging.provisioning import drift
from shared.messaging.publishing import Publisher
from shared.messaging.reliability import Reliability
from shared.messaging.requests import Requester, Responder, respond
from shared.metrics import HealthGauges, MessagingMetrics
from shared.privacy import in_words
from shared.secrets import Secrets
from shared.settings import EXIT_MISCONFIGURED, PlatformSettings
from shared.telemetry import configure_telemetry
from shared.watchdog import LoopWatchdog, end_frozen_process

log = get_logger(__name__)
T = TypeVar("T")
M = TypeVar("M", bound=Message)
Q = TypeVar("Q", bound=Message)

CHECK_INTERVAL_SECONDS = 1.0
# What closing may take beside the draining: the connection, and the last spans.
CLOSE_SECONDS = 5.0
FLUSH_SECONDS = 2.0
TOPOLOGY_RETRY_SECONDS = 1.0
EXIT_START_FAILED = 1
EXIT_CONNECTION_LOST = 70


class Service:
    """What a service registers its handlers with and asks others through."""

    def __init__(self, name: str, settings: PlatformSettings) -> None:
        self.name = name
        self.settings = settings
        self.telemetry = or_end(partial(configure_telemetry, settings, name))
        self.metrics = MessagingMetrics(self.telemetry.meter)
        gauges = HealthGauges(self.telemetry.meter)
        self.health = Health(name, settings.instance, settings.stale_after_seconds, gauges, Secrets(settings))
        self._reliability = Reliability(self.telemetry.tracer, self.metrics)
        self.ending = Ending(settings.drain_seconds)
        self.shutting_down = self.ending.begun
        self._broker = self._build_broker()
        self._consumers: list[Consumer] = []
        self._draining: Draining | None = None
        self._consumption: Consumption | None = None
        self._subscribers: list[PullStreamSubscriber] = []
        self._responders: list[Callable[[], Awaitable[Responder]]] = []
        self._responding: list[Responder] = []
        self._drained = False
        self.failed_start: int | None = None
        self.failed = False

    def _build_broker(self) -> NatsBroker:
        return or_end(
            partial(
                build_broker,
                self.settings,
                self.name,
                on_closed=self._closed,
                on_reconnected=self._reconnected,
                closing=self.ending.begun.is_set,
                middlewares=(self._reliability,),
            )
        )

    async def connect(self) -> None:
        """Connect to the broker; Unavailable when it can't be reached in time."""
        self.health.waiting_for = f"the broker at {without_credentials(self.settings.nats_url)}"
        self.client: Client = await connect(self._broker, self.settings)
        tracer = self.telemetry.tracer
        self.publisher = Publisher(self.client, tracer, timeout_seconds=self.settings.publish_timeout_seconds)
        self.requester = Requester(self.client, tracer, timeout_seconds=self.settings.request_timeout_seconds)
        self.health.checks["broker"] = self._check_broker
        self.health.waiting_for = "start"
        self.health.connected = lambda: self.client.is_connected

    def consume(self, consumer: Consumer, model: type[M], handler: Handler[M], *, workers: int) -> None:
        """Have a handler called with every decoded message of a durable consumer."""
        self._subscribers.append(consume(self._broker, consumer, model, handler, workers=workers))
        self._consumes(consumer)

    def consume_raw(self, consumer: Consumer, handler: RawHandler, *, workers: int) -> None:
        """Have a handler called with every message of a durable consumer as it came."""
        self._subscribers.append(consume_raw(self._broker, consumer, handler, workers=workers))
        self._consumes(consumer)

    def respond(
        self,
        subject: str,
        model: type[Q],
        handler: Callable[[Q, float | None], Awaitable[Message]],
        *,
        concurrency: int | None = None,
    ) -> None:
        """Answer requests on a subject; replicas share them."""
        self.metrics.expired.add(0, {"where": subject})
        slots = concurrency or self.settings.max_concurrent_requests

        async def start() -> Responder:
            return await respond(
                self.client,
                self.telemetry.tracer,
                self.metrics,
                subject,
                model,
                handler,
                queue=self.name,
                concurrency=slots,
                pending=PendingLimits.of(self.settings),
            )

        self._responders.append(start)

    async def uploads(self) -> ObjectStore:
        """Return the bucket of payloads that are over the message limit."""
        return await self.client.jetstream().object_store(subjects.UPLOADS_BUCKET)

    async def run_until_stopped(self) -> None:
        """Become ready as soon as the topology stands, then watch the consumers; runs as a task of the lifespan."""
        await self._wait_for_topology()
        await self._start_consuming()
        while True:
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)
            if self._consumption is not None and self.client.is_connected:
                self._consumption.look()

    def begin_shutdown(self) -> None:
        """Say that this process takes no more work, and have everything end that only waits; may be called again."""
        if self.ending.begin():
            log.info("service_stopping", seconds=self.settings.drain_seconds)
            self.health.waiting_for = "shutdown"
            self._reliability.stop_waiting()

    async def stop(self) -> None:
        """Take no more work; finish within `drain_seconds`, or give back, what was fetched; may be called again."""
        self.begin_shutdown()
        if self._drained:
            return
        self._drained = True
        started = time.monotonic()
        unanswered, unfinished = await asyncio.gather(self._stop_responding(), self._stop_consuming())
        self.metrics.drained(time.monotonic() - started, unanswered + unfinished)
        log.info(
            "service_drained",
            given_back=self._draining.given_back if self._draining else 0,
            cut_off=unfinished,
            unanswered=unanswered,
        )
        # While who takes them may still listen: under `rag up` that is a process of the platform, perhaps this one.
        await within(FLUSH_SECONDS, asyncio.to_thread(self.telemetry.flush), "spans")

    def _consumes(self, consumer: Consumer) -> None:
        self._consumers.append(consumer)
        self.metrics.expect_messages_of(consumer.name)

    async def _stop_responding(self) -> int:
        return sum(await asyncio.gather(*(responder.stop(self.ending) for responder in self._responding)))

    async def _stop_consuming(self) -> int:
        if self._draining is None:
            return 0
        await self._draining.drain(self.ending, lambda raw: self._reliability.abandon(raw, Delivery.of(raw)))
        self.metrics.abandoned.add(self._draining.given_back)
        return await self._reliability.settle_abandoned()

    async def close(self) -> None:
        """Close the connection and flush telemetry, each within its bound, whether or not anybody answers."""
        self.begin_shutdown()
        await within(CLOSE_SECONDS, self._disconnect(), "the broker's connection")
        await within(CLOSE_SECONDS, asyncio.to_thread(self.telemetry.shutdown), "telemetry")
        await within(CLOSE_SECONDS, asyncio.to_thread(flush_error_reports), "error reports")
        log.info("service_closed")

    async def _disconnect(self) -> None:
        try:
            await self._broker.stop()
        except NatsError:
            # A client that is looking for its broker refuses to drain: there is nothing that it could send.
            await self.client.close()

    async def _wait_for_topology(self) -> None:
        self.health.waiting_for = "topology"
        while True:
            try:
                differences = await drift(self.client.jetstream(), replicas=self.settings.nats_replicas)
            except (NatsError, TimeoutError) as error:
                differences = [f"cannot be read: {in_words(error)}"]
            if not differences:
                return
            self.health.waiting_for = "topology: " + "; ".join(differences[:5])
            log.warning("topology_differs", differences=differences[:20], hint="run `rag provision`")
            await asyncio.sleep(TOPOLOGY_RETRY_SECONDS)

    async def _start_consuming(self) -> None:
        self._reliability.dead_letters = DeadLetters(
            self.publisher, await self.uploads(), max_payload_bytes=self.client.max_payload
        )
        self._responding = [await start() for start in self._responders]
        await PendingLimits.of(self.settings).subscribe(self.client, subjects.HEALTH, self._answer_health)
        self._draining = Draining(self._subscribers)
        await self._broker.start()
        self._consumption = Consumption(self._draining.pull_continuously(self._consumers), self.health)
        await settle(self.client)
        self.health.waiting_for = None
        # What start-up made lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        log.info("service_ready", consumers=[consumer.name for consumer in self._consumers])

    async def _check_broker(self) -> dict[str, object]:
        if not self.client.is_connected:
            raise ConnectionError("not connected")
        version = self.client.connected_server_version
        return {
            "url": without_credentials(self.settings.nats_url),
            "server": f"{version.major}.{version.minor}.{version.patch}",
        }

    async def _answer_health(self, message: Msg) -> None:
        report = await self.health.report(min(_check_seconds(message.data), CHECK_TIMEOUT_SECONDS))
        await message.respond(encode(report))

    async def _reconnected(self) -> None:
        if self._consumption is not None:
            self._consumption.renew()

    async def _closed(self) -> None:
        if not self.shutting_down.is_set():
            log.critical("broker_connection_closed", hint="the process ends; its supervisor starts a new one")
            os._exit(EXIT_CONNECTION_LOST)


def _check_seconds(request: bytes) -> float:
    """Return how long checks may take for who asks; a question that cannot be read gets the usual time."""
    try:
        return decode(HealthRequest, request).check_seconds or CHECK_TIMEOUT_SECONDS
    except DecodeError:
        return CHECK_TIMEOUT_SECONDS


Lifespan = Callable[[Service], AbstractAsyncContextManager[None]]


def service_lifespan(service: Service, lifespan: Lifespan) -> Callable[[ASGIApp], AbstractAsyncContextManager[None]]:
    """Return the ASGI lifespan that starts a service in order and stops it in reverse."""

    @asynccontextmanager
    async def run(_app: ASGIApp) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await _unless_stopped(service.connect(), service)
                stack.push_async_callback(service.close)
                await _unless_stopped(stack.enter_async_context(lifespan(service)), service)
            except Exception as error:
                service.failed_start = explain_failed_start(error)
                raise
            stack.push_async_callback(service.stop)
            _keep(stack, service, service.run_until_stopped())
            frozen_seconds, lag = service.settings.loop_frozen_seconds, service.metrics.loop_lag
            _keep(stack, service, LoopWatchdog(frozen_seconds, end_frozen_process, lag.record).run())
            yield

    return run


class Stopped(Exception):
    """A signal came before the service was ready."""


async def _unless_stopped(step: Coroutine[Any, Any, Any], service: Service) -> None:
    """Run a step of the start; Stopped when a signal comes first."""
    running = asyncio.ensure_future(step)
    stopped = asyncio.create_task(service.shutting_down.wait())
    try:
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            return
        raise Stopped
    finally:
        stopped.cancel()
        running.cancel()


def _keep(stack: AsyncExitStack, service: Service, work: Coroutine[Any, Any, None]) -> None:
    """Run work beside the service until the stack is left; the process must not outlive it, nor look healthy."""

    def end_process_on_failure(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("service_failed", exc_info=task.exception())
            service.failed = True
            os.kill(os.getpid(), signal.SIGTERM)

    task = asyncio.create_task(work)
    task.add_done_callback(end_process_on_failure)
    stack.callback(task.cancel)


def or_end(build: Callable[[], T]) -> T:
    """Return what is built before anything runs whose start could fail; SystemExit where the settings don't fit."""
    try:
        return build()
    except Misconfigured as error:
        raise SystemExit(explain_failed_start(error)) from None


def explain_failed_start(error: Exception) -> int:
    """Say in one line what a person can mend, with its traceback what only we can; return the exit code."""
    if isinstance(error, Stopped):
        log.info("start_abandoned")
        return 0
    if isinstance(error, PlatformError):
        log.critical("start_failed", reason=error)
        return EXIT_MISCONFIGURED if isinstance(error, Misconfigured) else EXIT_START_FAILED
    log.critical("start_failed", exc_info=error)
    return EXIT_START_FAILED
