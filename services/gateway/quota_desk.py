"""What a tenant may keep: room for what it sends, and what it uses."""

from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.metrics import Meter

from contracts import subjects
from contracts.reads import UsageQuery, UsageReply
from services.gateway.problems import RequestProblem
from services.gateway.schemas import TenantUsage, UsageLimits
from services.gateway.settings import GatewaySettings
from services.gateway.submissions import Submission
from shared.messaging.requests import Requester
from shared.messaging.usage import UsageReader
from shared.metrics import QuotaMetrics
from shared.quotas import QuotaExceeded, Quotas, Room

# Not 429: to come back later does not help, and clients that do so by themselves would do it for ever.
STATUS: Final = 403
# A tenant at its quota takes a quarter of the time of one who adds up at most, whatever it sends.
REST: Final = 4.0


class QuotaDesk:
    """Takes room for documents before they are published; with persistence away they get in, and the parser decides."""

    def __init__(self, reader: UsageReader, requester: Requester, settings: GatewaySettings, meter: Meter) -> None:
        self._requester = requester
        self._settings = settings
        self._metrics = QuotaMetrics(meter)
        self._quotas = Quotas(
            settings.quota_of,
            reader.accepted,
            fresh_seconds=settings.quota_fresh_seconds,
            settle_seconds=settings.quota_settle_seconds,
            open_when_away=True,
            rest=REST,
        )

    async def take(self, tenant: str, submissions: Sequence[Submission]) -> Room:
        """Return room for all of these documents.

        Raises RequestProblem 403 when there is none, Overloaded when that is not certain yet.
        """
        try:
            return await self._quotas.take(tenant, _sizes(submissions))
        except QuotaExceeded as error:
            self._metrics.refused(error.limit, len(submissions))
            extra = {"limit": error.limit, "allowed": error.allowed, "used": error.used}
            raise RequestProblem(STATUS, error.error_code, error.message, extra=extra) from None

    async def usage(self, tenant: str) -> TenantUsage:
        """Return what a tenant uses now, and what it may have; Unavailable when persistence does not answer."""
        reply = await self._requester.ask(subjects.READ_USAGE, UsageQuery(tenant=tenant), UsageReply)
        quota = self._settings.quota_of(tenant)
        return TenantUsage(
            documents=reply.used.documents,
            bytes=reply.used.size_bytes,
            limits=UsageLimits(documents=quota.documents, bytes=quota.size_bytes),
        )


def _sizes(submissions: Iterable[Submission]) -> dict[str, int]:
    """Return the size of each document; one that comes twice counts with the larger one."""
    sizes: dict[str, int] = {}
    for submission in submissions:
        sizes[submission.document_id] = max(submission.size_bytes, sizes.get(submission.document_id, 0))
    return sizes
