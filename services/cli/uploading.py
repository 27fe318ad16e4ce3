"""Sends batches to the gateway and follows their documents until nothing more will happen to them.

At most `concurrency` batches are on their way at a time, and a batch counts until its last document is settled: what
the platform has in flight for one `rag ingest` is therefore bounded, however much there is to load.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from contracts.reads import TERMINAL_STATUSES
from services.cli.batches import Batch
from services.cli.client import Gateway, GatewayUnreachable, Problem, document_path
from services.cli.errors import CommandError
from services.cli.sources import Broken, Document
from services.cli.tally import Failure

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 15.0
# On top of the time that the gateway holds the reply; a request of 64 MiB over a slow line needs it.
REPLY_MARGIN_SECONDS: Final = 60.0
ROUND_SECONDS: Final = 0.5
# The gateway asks another service for each of them.
MAX_READS_PER_SECOND: Final = 25.0
_REFUSED_AS_A_WHOLE: Final = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """How to send: `wait_seconds` is how long the gateway holds a reply, None not to wait for documents at all."""

    concurrency: int = 4
    wait_seconds: float | None = 10.0
    retry_seconds: float = 120.0
    stall_seconds: float = 300.0


class Listener(Protocol):
    """Hears what becomes of the documents."""

    def accepted(self, count: int) -> None:
        """Documents are durably taken."""

    def indexed(self, document_id: str) -> None:
        """A document can be found."""

    def failed(self, failure: Failure) -> None:
        """A document did not get in."""


class Upload:
    """One run over all batches."""

    def __init__(self, gateway: Gateway, listener: Listener, options: UploadOptions) -> None:
        self._gateway = gateway
        self._listener = listener
        self._options = options
        self._last_news = time.monotonic()
        self._next_read = 0.0

    async def run(self, batches: Iterator[Batch | Broken]) -> None:
        """Send everything; CommandError when the gateway can't be reached any more."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.concurrency):
                group.create_task(self._work(batches))

    async def _work(self, batches: Iterator[Batch | Broken]) -> None:
        for batch in batches:
            if isinstance(batch, Broken):
                self._listener.failed(Failure(batch.document_id, batch.code, batch.message))
                # A file of nothing but broken lines must not keep the replies of the other batches waiting.
                await asyncio.sleep(0)
                continue
            await self._deliver(batch)

    async def _deliver(self, batch: Batch) -> None:
        try:
            replies = await self._post(batch)
        except Problem as problem:
            await self._divide(batch, problem)
            return
        if len(replies) != len(batch.documents):
            raise CommandError(f"the gateway answered {len(replies)} of {len(batch.documents)} documents")
        self._listener.accepted(sum(reply.get("status") != "failed" for reply in replies))
        pending = [
            (document, int(reply.get("revision") or 0))
            for document, reply in zip(batch.documents, replies, strict=True)
            if not self._settle(document, reply)
        ]
        if self._options.wait_seconds is not None:
            await self._follow(pending)

    async def _divide(self, batch: Batch, problem: Problem) -> None:
        """Find the documents that had the whole batch refused."""
        if problem.status not in _REFUSED_AS_A_WHOLE:
            raise problem
        if len(batch.documents) > 1:
            for half in batch.halves():
                await self._deliver(half)
            return
        self._news()
        self._listener.failed(Failure(batch.documents[0].document_id, problem.code, problem.detail))

    async def _post(self, batch: Batch) -> list[dict[str, Any]]:
        """Send a batch until it is taken; the key makes a repeat harmless."""
        wait = self._options.wait_seconds
        params = {"wait_s": f"{wait:g}"} if wait is not None else None
        deadline = time.monotonic() + self._options.retry_seconds
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                reply = await self._gateway.post(
                    "/v1/documents",
                    batch.body(),
                    params=params,
                    headers={"Idempotency-Key": batch.key},
                    timeout_seconds=(wait or 0.0) + REPLY_MARGIN_SECONDS,
                )
                documents: list[dict[str, Any]] = reply["documents"]
                return documents
            except (GatewayUnreachable, Problem) as error:
                if isinstance(error, Problem) and not error.temporary:
                    raise
                asked = (error.retry_after_seconds if isinstance(error, Problem) else None) or 0.0
                pause = min(LONGEST_RETRY_SECONDS, max(asked, delay * random.uniform(0.8, 1.2)))  # nosec B311: spreads retries
                if time.monotonic() + pause > deadline:
                    raise CommandError(f"gave up after {self._options.retry_seconds:g} s: {error}") from None
                await asyncio.sleep(pause)
                delay = min(LONGEST_RETRY_SECONDS, delay * 2)

    async def _follow(self, pending: list[tuple[Document, int]]) -> None:
        """Ask for every document until its revision is settled or nothing has moved for too long."""
        while pending:
            if time.monotonic() - self._last_news > self._options.stall_seconds:
                self._give_up(pending)
                return
            await asyncio.sleep(ROUND_SECONDS)
            pending = [
                (document, revision) for document, revision in pending if not await self._ask_for(document, revision)
            ]

    async def _ask_for(self, document: Document, revision: int) -> bool:
        await self._pace()
        try:
            view = await self._gateway.get(document_path(document.document_id))
        except GatewayUnreachable:
            return False
        except Problem as problem:
            if problem.temporary or problem.status == 404:
                return False  # Taken, but not yet recorded, or nobody to ask: it is on its way all the same.
            raise
        return int(view.get("revision") or 0) >= revision and self._settle(document, view)

    def _settle(self, document: Document, view: dict[str, Any]) -> bool:
        """Report a document that has reached its end; tell whether it has."""
        status = view.get("status")
        if status not in TERMINAL_STATUSES:
            return False
        self._news()
        if status == "indexed":
            self._listener.indexed(document.document_id)
        else:
            error = view.get("error") or {"code": status, "message": f"the document was {status} by somebody else"}
            self._listener.failed(Failure(document.document_id, str(error.get("code")), str(error.get("message"))))
        return True

    def _give_up(self, pending: list[tuple[Document, int]]) -> None:
        for document, _ in pending:
            message = f"nothing has moved for {self._options.stall_seconds:g} s; see `rag status`"
            self._listener.failed(Failure(document.document_id, "still_processing", message))

    def _news(self) -> None:
        self._last_news = time.monotonic()

    async def _pace(self) -> None:
        """Keep the reads of all batches together below their rate."""
        now = time.monotonic()
        self._next_read = max(self._next_read + 1 / MAX_READS_PER_SECOND, now)
        await asyncio.sleep(self._next_read - now)
