"""What a tenant uses of its quota, as persistence tells it, and as of which place in the streams."""

import time
from collections.abc import Sequence

from nats.aio.client import Client

from contracts import subjects, topology
from contracts.reads import Usage, UsageQuery, UsageReply
from shared.errors import DeadlineExpired, Unavailable
from shared.messaging.requests import Requester
from shared.messaging.stream_progress import StreamProgress
from shared.quotas import Amount, Place, Reading


class UsageReader:
    """Asks persistence; raises Unavailable when it or the broker does not tell in time."""

    def __init__(self, client: Client, requester: Requester, *, timeout_seconds: float) -> None:
        self._requester = requester
        self._timeout_seconds = timeout_seconds
        self._intake = StreamProgress(client, topology.INTAKE, timeout_seconds=timeout_seconds)
        self._facts = StreamProgress(client, topology.PERSISTENCE, timeout_seconds=timeout_seconds)

    async def accepted(self, tenant: str, documents: Sequence[str]) -> Reading:
        """Return what counts of all that was accepted; what each of these documents counts, at most 100."""
        # Before the question: what is recorded up to here is in the answer.
        intake = await self._intake.look()
        reply = await self._ask(tenant, documents)
        of = {one.document_id: one.size_bytes for one in reply.of}
        return Reading(_amount(reply.used), of, Place(ingest=intake.done), intake.last)

    async def admitted(self, tenant: str, documents: Sequence[str]) -> Reading:
        """Return what counts of what is past the parser."""
        intake, facts = await self._intake.look(), await self._facts.look()
        reply = await self._ask(tenant, documents)
        of = {one.document_id: one.admitted_bytes for one in reply.of if one.admitted_bytes is not None}
        return Reading(_amount(reply.admitted), of, Place(intake.done, facts.done), intake.last)

    async def _ask(self, tenant: str, documents: Sequence[str]) -> UsageReply:
        query = UsageQuery(tenant=tenant, documents=list(documents))
        deadline = time.time() + self._timeout_seconds
        try:
            return await self._requester.ask(subjects.READ_USAGE, query, UsageReply, deadline=deadline)
        except DeadlineExpired as error:
            raise Unavailable("persistence did not tell in time what is used") from error


def _amount(usage: Usage) -> Amount:
    return Amount(usage.documents, usage.size_bytes)
