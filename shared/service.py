"""One service process, from settings to exit; every service's `app.py` is a lifespan that registers its handlers here.

Start: connect, enter the service's lifespan, wait for the declared topology, consume, become ready.
Stop (SIGTERM): not ready, stop fetching, finish or give back what was fetched, leave the lifespan, close, exit 0.
"""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import FrameType
from typing import TypeVar

import uvicorn
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore
from starlette.applications import Starlette
from starlette.types import ASGIApp

from contracts import subjects
from contracts.codec import encode
from contracts.messages import Message
from contracts.topology import Consumer
from shared.errors import Misconfigured, PlatformError
from shared.health import Health, health_routes
from shared.logs import configure_logging, get_logger
from shared.messaging.broker import build_broker, connect, without_credentials
from shared.messaging.consuming import Draining, Handler, RawHandler, consume, consume_raw
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.provisioning import drift
from shared.messaging.publishing import Publisher
from shared.messaging.reliability import Reliability
from shared.messaging.requests import Requester, respond
from shared.metrics import HealthGauges, MessagingMetrics
from shared.settings import EXIT_MISCONFIGURED, PlatformSettings
from shared.telemetry import configure_telemetry

log = get_logger(__name__)
M = TypeVar("M", bound=Message)
Q = TypeVar("Q", bound=Message)

CHECK_INTERVAL_SECONDS = 5.0
TOPOLOGY_RETRY_SECONDS = 1.0
EXIT_START_FAILED = 1
EXIT_CONNECTION_LOST = 70


class Service:
    """What a service registers its handlers with and asks others through."""

    def __init__(self, name: str, settings: PlatformSettings) -> None:
        self.name = name
        self.settings = settings
        self.telemetry = configure_telemetry(settings, name)
        self.metrics = MessagingMetrics(self.telemetry.meter)
        gauges = HealthGauges(self.telemetry.meter)
        self.health = Health(name, settings.instance, settings.stale_after_seconds, gauges)
        self._reliability = Reliability(self.telemetry.tracer, self.metrics)
        self._stopping = False
        self.shutting_down = asyncio.Event()
        self._broker = build_broker(
            settings, name, on_closed=self._closed, closing=lambda: self._stopping, middlewares=(self._reliability,)
        )
        self._consumers: list[Consumer] = []
        self._draining: Draining | None = None
        self._subscribers: list[PullStreamSubscriber] = []
        self._responders: list[Callable[[], Awaitable[None]]] = []
        self.failed_start: int | None = None

    async def connect(self) -> None:
        """Connect to the broker; Unavailable when it can't be reached in time."""
        self.client: Client = await connect(self._broker, self.settings)
        tracer = self.telemetry.tracer
        self.publisher = Publisher(self.client, tracer, timeout_seconds=self.settings.publish_timeout_seconds)
        self.requester = Requester(self.client, tracer, timeout_seconds=self.settings.request_timeout_seconds)
        self.health.checks["broker"] = self._check_broker

    def consume(self, consumer: Consumer, model: type[M], handler: Handler[M], *, workers: int) -> None:
        """Have a handler called with every decoded message of a durable consumer."""
        self._subscribers.append(consume(self._broker, consumer, model, handler, workers=workers))
        self._consumers.append(consumer)

    def consume_raw(self, consumer: Consumer, handler: RawHandler, *, workers: int) -> None:
        """Have a handler called with every message of a durable consumer as it came."""
        self._subscribers.append(consume_raw(self._broker, consumer, handler, workers=workers))
        self._consumers.append(consumer)

    def respond(
        self,
        subject: str,
        model: type[Q],
        handler: Callable[[Q, float | None], Awaitable[Message]],
        *,
        concurrency: int | None = None,
    ) -> None:
        """Answer requests on a subject; replicas share them."""
        slots = concurrency or self.settings.max_concurrent_requests

        async def start() -> None:
            await respond(
                self.client,
                self.telemetry.tracer,
                self.metrics,
                subject,
                model,
                handler,
                queue=self.name,
                concurrency=slots,
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
            await self._look_at_consumers()
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    async def stop(self) -> None:
        """Take no more work, finish or give back what was fetched."""
        self._stopping = True
        self.shutting_down.set()
        self.health.waiting_for = "shutdown"
        if self._draining is not None:
            cut_off = await self._draining.drain(self.settings.drain_seconds)
            given_back = self._draining.given_back
            self.metrics.abandoned.add(given_back)
            log.info("service_drained", given_back=given_back, cut_off=cut_off)

    async def close(self) -> None:
        """Close the connection and flush telemetry."""
        self._stopping = True
        await self._broker.stop()
        await asyncio.to_thread(self.telemetry.shutdown)

    async def _wait_for_topology(self) -> None:
        self.health.waiting_for = "topology"
        while True:
            try:
                differences = await drift(self.client.jetstream(), replicas=self.settings.nats_replicas)
            except (NatsError, TimeoutError) as error:
                differences = [f"cannot be read: {type(error).__name__}: {error}"]
            if not differences:
                return
            self.health.waiting_for = "topology: " + "; ".join(differences[:5])
            log.warning("topology_differs", differences=differences[:20], hint="run `rag provision`")
            await asyncio.sleep(TOPOLOGY_RETRY_SECONDS)

    async def _start_consuming(self) -> None:
        self._reliability.dead_letters = DeadLetters(
            self.publisher, await self.uploads(), max_payload_bytes=self.client.max_payload
        )
        for start in self._responders:
            await start()
        await self.client.subscribe(subjects.HEALTH, cb=self._answer_health)
        self._draining = Draining(self._subscribers)
        await self._broker.start()
        self._draining.pull_continuously({consumer.name: consumer.linger_seconds for consumer in self._consumers})
        for consumer in self._consumers:
            self.health.fetched(consumer.name)
        await self.client.flush()
        self.health.waiting_for = None
        # What start-up made lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        log.info("service_ready", consumers=[consumer.name for consumer in self._consumers])

    async def _look_at_consumers(self) -> None:
        """A socket says little: a consumer counts as fetching when the server holds its pull or waits for its acks."""
        jetstream = self.client.jetstream()
        for consumer in self._consumers:
            try:
                info = await jetstream.consumer_info(consumer.stream, consumer.name)
            except NotFoundError:
                log.error("consumer_missing", consumer=consumer.name, hint="run `rag provision`")
                continue
            except (NatsError, TimeoutError) as error:
                log.warning("consumer_unknown", consumer=consumer.name, error=type(error).__name__)
                continue
            if info.num_waiting or info.num_ack_pending:
                self.health.fetched(consumer.name)

    async def _check_broker(self) -> dict[str, object]:
        if not self.client.is_connected:
            raise ConnectionError("not connected")
        version = self.client.connected_server_version
        return {
            "url": without_credentials(self.settings.nats_url),
            "server": f"{version.major}.{version.minor}.{version.patch}",
        }

    async def _answer_health(self, message: Msg) -> None:
        await message.respond(encode(await self.health.report()))

    async def _closed(self) -> None:
        if not self._stopping:
            log.critical("broker_connection_closed", hint="the process ends; its supervisor starts a new one")
            os._exit(EXIT_CONNECTION_LOST)


Lifespan = Callable[[Service], AbstractAsyncContextManager[None]]


def service_lifespan(service: Service, lifespan: Lifespan) -> Callable[[ASGIApp], AbstractAsyncContextManager[None]]:
    """Return the ASGI lifespan that starts a service in order and stops it in reverse."""

    @asynccontextmanager
    async def run(_app: ASGIApp) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await service.connect()
                stack.push_async_callback(service.close)
                await stack.enter_async_context(lifespan(service))
            except Exception as error:
                service.failed_start = _explain_failed_start(error)
                raise
            stack.push_async_callback(service.stop)
            watch = asyncio.create_task(service.run_until_stopped())
            watch.add_done_callback(_end_process_on_failure)
            stack.callback(watch.cancel)
            yield

    return run


def run_service(name: str, settings: PlatformSettings, lifespan: Lifespan) -> None:
    """Run a service that has no HTTP interface but health; returns after SIGTERM or SIGINT."""
    configure_logging(settings, name)
    service = Service(name, settings)
    app = Starlette(routes=health_routes(service.health), lifespan=service_lifespan(service, lifespan))
    serve(app, service)


def serve(app: ASGIApp, service: Service) -> None:
    """Serve an ASGI app until a signal comes; SystemExit with 2 or 1 when it could not start."""
    settings = service.settings
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    server = uvicorn.Server(config)
    # Uvicorn raises the signal again once it has shut down; a process that drained in order ends with 0.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, _already_handled)
    server.run()
    if not server.started:
        raise SystemExit(service.failed_start or EXIT_START_FAILED)


def _already_handled(_signal_number: int, _frame: FrameType | None) -> None:
    """Do nothing."""


def _explain_failed_start(error: Exception) -> int:
    """Say in one line what a person can mend, with its traceback what only we can; return the exit code."""
    if isinstance(error, PlatformError):
        log.critical("start_failed", reason=error.message)
        return EXIT_MISCONFIGURED if isinstance(error, Misconfigured) else EXIT_START_FAILED
    log.critical("start_failed", exc_info=error)
    return EXIT_START_FAILED


def _end_process_on_failure(task: asyncio.Task[None]) -> None:
    """A service that can neither start consuming nor watch it must not look healthy."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("service_failed", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)
