"""What every stage of the pipeline has before it, read from the broker."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamInfo
from nats.js.errors import NotFoundError

from contracts import subjects
from contracts.health import HealthReply
from contracts.topology import DEAD_LETTERS, STREAMS
from services.gateway.components import Components
from services.gateway.metrics import BacklogGauges
from services.gateway.nats_backlogs import Backlog, NatsBacklogs
from services.gateway.parts import ConsumerSample
from services.gateway.rates import Rates
from services.gateway.schemas import PipelineState, Stage, StreamState
from shared.errors import Unavailable

WINDOW_SECONDS: Final = 60.0
MAX_SAMPLES: Final = 120


class Pipeline:
    """Reads the state of consumers and streams, and samples their progress in between; `gauges` show the samples."""

    def __init__(self, client: Client, components: Components, gauges: BacklogGauges, *, sample_seconds: float) -> None:
        self._jetstream = client.jetstream()
        self._backlogs = NatsBacklogs(client)
        self._components = components
        self._gauges = gauges
        self._sample_seconds = sample_seconds
        self._latest: Mapping[str, ConsumerSample] = {}
        self._rates = Rates(window_seconds=WINDOW_SECONDS, max_samples=MAX_SAMPLES)

    async def state(self) -> PipelineState:
        """Return every declared stage and stream; Unavailable when the broker does not tell."""
        try:
            backlogs, streams, replies = await asyncio.gather(
                self._sampled_with_ages(), self._streams(), self._components.replies()
            )
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the broker does not tell the state of its streams: {error}") from error
        dead = _dead_letters(streams)
        stages = [self._stage(backlog, replies, dead) for backlog in backlogs]
        return PipelineState(stages=stages, streams=[_stream_state(info) for info in streams])

    def latest(self) -> Mapping[str, ConsumerSample]:
        """Return what the broker said last of each consumer; never waits for it."""
        return self._latest

    async def keep_sampling(self) -> None:
        """Sample for ever, so that neither a rate nor a scrape waits for the broker; one that is away leaves a gap."""
        while True:
            with suppress(NatsError, TimeoutError):
                self._gauges.show(await self._sampled_with_ages())
            await asyncio.sleep(self._sample_seconds)

    async def _sampled_with_ages(self) -> list[Backlog]:
        return await self._backlogs.with_ages(await self._sampled())

    async def _sampled(self) -> list[Backlog]:
        found = await self._backlogs.look()
        now = time.monotonic()
        self._latest = {
            backlog.consumer.name: ConsumerSample(backlog.pending, backlog.in_work, backlog.redelivered, now)
            for backlog in found
        }
        for backlog in found:
            self._rates.sample(backlog.consumer.name, now, backlog.done)
        return found

    async def _streams(self) -> list[StreamInfo]:
        async def info(name: str) -> StreamInfo | None:
            try:
                # Only one stream is asked for its subjects: there each is one of few consumers.
                wanted = subjects.DEAD_ALL if name == DEAD_LETTERS.stream else None
                return await self._jetstream.stream_info(name, subjects_filter=wanted)
            except NotFoundError:
                return None

        found = await asyncio.gather(*(info(stream.name) for stream in STREAMS))
        return [item for item in found if item is not None]

    def _stage(self, backlog: Backlog, replies: Iterable[HealthReply], dead: Mapping[str, int]) -> Stage:
        name = backlog.consumer.name
        rate = self._rates.per_second(name)
        age = backlog.age_seconds(time.time())
        return Stage(
            stage=name,
            stream=backlog.consumer.stream,
            backlog=backlog.pending,
            in_flight=backlog.in_work,
            redelivered=backlog.redelivered,
            dead_letters=dead.get(subjects.dead(name), 0),
            rate_per_s=None if rate is None else round(rate, 2),
            oldest_age_s=None if age is None else round(age, 1),
            consumers_seen=sum(name in reply.details.get("consumers", {}) for reply in replies),
        )


def _dead_letters(streams: Iterable[StreamInfo]) -> Mapping[str, int]:
    """Return the number of letters by subject."""
    return next((info.state.subjects or {} for info in streams if info.config.name == DEAD_LETTERS.stream), {})


def _stream_state(info: StreamInfo) -> StreamState:
    return StreamState(
        name=info.config.name or "",
        messages=info.state.messages,
        bytes=info.state.bytes,
        max_bytes=info.config.max_bytes or -1,
        first_sequence=info.state.first_seq,
        last_sequence=info.state.last_seq,
        consumers=info.state.consumer_count,
    )
