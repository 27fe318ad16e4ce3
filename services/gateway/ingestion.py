"""Accepting documents: published in one go, and in the request's order for each document id."""

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from contracts import subjects
from contracts.reads import IdempotencyRecord
from services.gateway.idempotency import IdempotencyKey, SeenKeys, check_same
from services.gateway.nats_uploads import Uploads
from services.gateway.problems import RequestProblem, status_of
from services.gateway.quota_desk import QuotaDesk
from services.gateway.receipts import Receipt
from services.gateway.recent import RecentWrites
from services.gateway.submissions import Submission
from shared.errors import Overloaded, PlatformError, Rejected, Retryable
from shared.messaging.publishing import Outgoing, Published, Publisher
from shared.quotas import Place, Room
from shared.telemetry import current_trace_id


@dataclass(frozen=True, slots=True)
class _Part:
    """A document of a request: its place there, and its own idempotency key where the request has one."""

    place: int
    submission: Submission
    key: str | None
    message_id: str

    def outgoing(self, headers: Mapping[str, str]) -> Outgoing:
        """Return the message, with the headers of all parts and its own."""
        own = dict(headers)
        if self.key is not None:
            own[subjects.HEADER_IDEMPOTENCY] = self.key
        if self.submission.blob is not None:
            own[subjects.HEADER_SIZE] = str(self.submission.size_bytes)
        return Outgoing(self.submission.payload, self.message_id, own)


class Ingestion:
    """Publishes documents so that each one is either accepted or named as not accepted."""

    def __init__(
        self,
        publisher: Publisher,
        uploads: Uploads,
        seen: SeenKeys,
        recent: RecentWrites,
        quota_desk: QuotaDesk,
        *,
        concurrency: int,
    ) -> None:
        self._publisher = publisher
        self._uploads = uploads
        self._seen = seen
        self._recent = recent
        self._quota_desk = quota_desk
        self._concurrency = concurrency

    async def accept(self, tenant: str, submissions: Sequence[Submission], key: IdempotencyKey | None) -> list[Receipt]:
        """Return a receipt for every document, once all are stored.

        Raises RequestProblem: 422 when the key was used for something else, 403 when the tenant's quota has no room for
        what is new (nothing is published then), 503 with the receipts of those that were accepted when the queue took
        only some.
        """
        receipts = await self._seen_before(tenant, submissions, key)
        new = [submission for index, submission in enumerate(submissions) if index not in receipts]
        try:
            with await self._quota_desk.take(tenant, new) as room:
                failure = await self._publish_missing(tenant, submissions, key, receipts, room)
        except PlatformError as error:
            failure = error
        accepted = [receipts[index] for index in sorted(receipts)]
        if failure is not None:
            raise _with_accepted(failure, accepted)
        return accepted

    async def _seen_before(
        self, tenant: str, submissions: Sequence[Submission], key: IdempotencyKey | None
    ) -> dict[int, Receipt]:
        if key is None:
            return {}
        records = await self._seen.find(tenant, [key.of(index) for index in range(len(submissions))])
        receipts: dict[int, Receipt] = {}
        for index, submission in enumerate(submissions):
            if record := records.get(key.of(index)):
                check_same(record, submission.digest)
                receipts[index] = _duplicate(record)
        return receipts

    async def _publish_missing(
        self,
        tenant: str,
        submissions: Sequence[Submission],
        key: IdempotencyKey | None,
        receipts: dict[int, Receipt],
        room: Room,
    ) -> PlatformError | None:
        """Publish what has no receipt yet; after the first failure nothing more is started."""
        request = uuid.uuid4().hex

        def part_at(place: int) -> _Part:
            own = key.of(place) if key else None
            return _Part(place, submissions[place], own, own or f"{request}-{place}")

        for places in _rounds(submissions, receipts, self._concurrency):
            parts = [part_at(place) for place in places]
            outcomes = await self._publish(tenant, parts)
            failures: list[PlatformError] = []
            for part in parts:
                try:
                    receipt = await self._receipt(tenant, part, outcomes[part.place])
                except PlatformError as error:
                    failures.append(error)
                    continue
                receipts[part.place] = receipt
                if not receipt.duplicate:
                    room.added(receipt.document_id, Place(ingest=receipt.revision))
            if failures:
                return failures[0]
        return None

    async def _publish(self, tenant: str, parts: Sequence[_Part]) -> dict[int, Published | PlatformError]:
        """Publish in one go; return what became of each, by its place."""
        common = {
            subjects.HEADER_CONTENT_TYPE: subjects.CONTENT_TYPE_JSON,
            subjects.HEADER_CORRELATION_ID: current_trace_id(),
        }
        outcomes: dict[int, Published | PlatformError] = {**await self._put_payloads(parts)}
        going = [part for part in parts if part.place not in outcomes]
        messages = [part.outgoing(common) for part in going]
        if not going:
            return outcomes
        published = await self._publisher.publish_each(subjects.ingest(tenant), messages, tenant=tenant)
        for part, outcome in zip(going, published, strict=True):
            outcomes[part.place] = outcome
            name = part.submission.object
            # Only these say for certain that no message refers to the payload.
            if name is not None and isinstance(outcome, Overloaded | Rejected):
                await self._uploads.discard(name)
        return outcomes

    async def _put_payloads(self, parts: Sequence[_Part]) -> dict[int, PlatformError]:
        """Store what is too large for a message; return what failed, by its place."""
        failed: dict[int, PlatformError] = {}

        async def put(place: int, name: str, blob: BinaryIO) -> None:
            try:
                await self._uploads.put(name, blob)
            except PlatformError as error:
                failed[place] = error

        large = [(part.place, part.submission.object, part.submission.blob) for part in parts]
        await asyncio.gather(*(put(place, name, blob) for place, name, blob in large if name and blob is not None))
        return failed

    async def _receipt(self, tenant: str, part: _Part, outcome: Published | PlatformError) -> Receipt:
        if isinstance(outcome, PlatformError):
            raise outcome
        # Without a key a repeated message id is our own second try after a lost acknowledgement.
        if part.key is not None and outcome.duplicate:
            record = await self._seen.settle(tenant, part.key)
            check_same(record, part.submission.digest)
            return _duplicate(record)
        document_id, collection = part.submission.document_id, part.submission.collection
        self._recent.record(tenant, document_id, outcome.sequence, collection)
        return Receipt(document_id, collection, outcome.sequence)


def _rounds(submissions: Sequence[Submission], receipts: Mapping[int, Receipt], size: int) -> Iterator[list[int]]:
    """Yield the places of what has no receipt, `size` at a time, those of one document id one by one in their order."""
    left = [place for place in range(len(submissions)) if place not in receipts]
    while left:
        taken: dict[str, int] = {}
        later: list[int] = []
        for place in left:
            document_id = submissions[place].document_id
            if len(taken) < size and document_id not in taken:
                taken[document_id] = place
            else:
                later.append(place)
        yield list(taken.values())
        left = later


def _duplicate(record: IdempotencyRecord) -> Receipt:
    return Receipt(record.document_id, record.collection, record.revision, duplicate=True)


def _with_accepted(error: PlatformError, accepted: Sequence[Receipt]) -> PlatformError:
    if not accepted:
        return error
    error_extra = error.extra if isinstance(error, RequestProblem) else {}
    return RequestProblem(
        status_of(error),
        error.error_code,
        f"{len(accepted)} of the documents were accepted, the rest was not: {error.message}",
        field=error.field,
        extra={**error_extra, "accepted": [receipt.as_json() for receipt in accepted]},
        retry_after_seconds=error.retry_after_seconds if isinstance(error, Retryable) else None,
    )
