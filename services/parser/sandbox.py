"""Reading documents in processes that may hang, crash or be taken over without harm to the service."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from services.parser.child_process import ChildProcess, place_in
from services.parser.chunking import ChunkingLimits
from services.parser.errors import SandboxUnavailable
from services.parser.extraction_stream import ExtractionStream
from services.parser.jobs import ChildConfig, ChunkBatch, ExtractionJob, ExtractionOutcome, JobLimits

__all__ = ["ChunkBatch", "ExtractionJob", "ExtractionOutcome", "JobLimits", "Sandbox", "SandboxOptions"]
from shared.logs import get_logger

log = get_logger(__name__)

_LONGEST_RESTART_DELAY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How many children there are and how they work.

    `size` documents are read at a time; `spares` more children wait, so that the job behind a fault need not.
    `later` of them are started only when they are needed, and stay.
    A child ends after `max_jobs_per_child` documents: 1 keeps documents of different tenants fully apart.
    """

    chunking: ChunkingLimits = field(default_factory=ChunkingLimits)
    size: int = 1
    spares: int = 1
    later: int = 0
    max_jobs_per_child: int = 200
    start_timeout_seconds: float = 30.0
    extra_extractors: Mapping[str, str] = field(default_factory=dict)


class Sandbox:
    """A pool of child processes that turn documents into chunks, measured by the tokenizer in `tokenizer` (a path)."""

    def __init__(self, tokenizer: str | Path, options: SandboxOptions | None = None) -> None:
        self._tokenizer = str(tokenizer)
        self._options = options or SandboxOptions()
        self._slots = asyncio.Semaphore(self._options.size)
        self._idle: asyncio.Queue[ChildProcess] = asyncio.Queue()
        self._children: set[ChildProcess] = set()
        self._replacements: set[asyncio.Task[None]] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def isolation(self) -> dict[str, bool]:
        """What the children could give up, by name; a child that could not do something says False."""
        reports = [child.isolation for child in self._children]
        return {name: all(report.get(name) for report in reports) for report in reports for name in report}

    async def start(self) -> None:
        """Start the children; raises SandboxUnavailable when one does not come up."""
        self._directory = tempfile.TemporaryDirectory(prefix="parser-")
        starts = (self._start_child() for _ in range(self._most - self._options.later))
        failures = [failure for failure in await asyncio.gather(*starts, return_exceptions=True) if failure]
        if failures:
            await self.close()
            raise failures[0]
        log.info("parser_sandbox_started", children=len(self._children), isolation=self.isolation)

    async def close(self) -> None:
        """End all children, also those at work: their extractions raise ExtractionError."""
        for task in self._replacements:
            task.cancel()
        await asyncio.gather(*self._replacements, return_exceptions=True)
        children, self._children = self._children, set()
        for child in children:
            child.kill()
        await asyncio.gather(*self._burials, *(child.wait() for child in children), return_exceptions=True)
        if self._directory:
            self._directory.cleanup()
            self._directory = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def extract(self, job: ExtractionJob) -> AsyncIterator[ExtractionStream]:
        """Read a document: `async with sandbox.extract(job) as batches: async for batch in batches: ...`.

        The stream knows `media_type` and `title` from the beginning and `outcome` at the end. Leaving the block early,
        by `break`, an exception or cancellation, ends the child. Raises ExtractionError when the document cannot be
        read, SandboxUnavailable when no child can be started.
        """
        async with self._slots:
            child = await self._take()
            stream = ExtractionStream(child, job)
            try:
                await stream.open()
                yield stream
            finally:
                self._put_back(child, reusable=stream.finished)

    @property
    def _most(self) -> int:
        return self._options.size + self._options.spares

    async def _take(self) -> ChildProcess:
        if self._idle.empty() and len(self._children) + len(self._replacements) < self._most:
            _keep(self._replacements, self._replace())
        while True:
            try:
                async with asyncio.timeout(self._options.start_timeout_seconds):
                    child = await self._idle.get()
            except TimeoutError:
                raise SandboxUnavailable("No parser process is ready. The log says why none starts.") from None
            if child.alive:
                return child
            self._discard(child)

    def _put_back(self, child: ChildProcess, *, reusable: bool) -> None:
        if reusable and child.alive and child.jobs < self._options.max_jobs_per_child:
            self._idle.put_nowait(child)
        else:
            self._discard(child, fault=not reusable)

    def _discard(self, child: ChildProcess, *, fault: bool = True) -> None:
        child.kill()
        if child in self._children:
            self._children.discard(child)
            _keep(self._burials, _bury(child, fault=fault))
            _keep(self._replacements, self._replace())

    async def _start_child(self) -> None:
        options = self._options
        config = ChildConfig(os.getpid(), self._tokenizer, options.chunking, dict(options.extra_extractors))
        directory = self._directory.name if self._directory else "/"
        child = await ChildProcess.start(config, directory, options.start_timeout_seconds)
        self._children.add(child)
        self._idle.put_nowait(child)

    async def _replace(self) -> None:
        delay_seconds = 0.5
        while True:
            try:
                return await self._start_child()
            except (SandboxUnavailable, OSError) as error:
                log.error("parser_child_start_failed", exc_info=error, retry_in_seconds=delay_seconds)
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(delay_seconds * 2, _LONGEST_RESTART_DELAY_SECONDS)


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _bury(child: ChildProcess, *, fault: bool) -> None:
    status = await child.wait()
    if fault:
        # What a parser wrote last may quote the document that it failed at.
        log.warning(
            "parser_child_replaced",
            child_pid=child.pid,
            exit_status=status,
            child_stderr=child.errors,
            **place_in(child.errors),
            jobs=child.jobs,
        )
