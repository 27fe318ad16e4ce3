"""Whether a tenant's quota has room for a document, asked once its size is known and before it is read."""

from opentelemetry.metrics import Meter

from contracts.documents import IngestMessage
from services.parser.settings import ParserSettings
from shared.messaging.delivery import Delivery
from shared.messaging.usage import UsageReader
from shared.metrics import QuotaMetrics
from shared.quotas import QuotaExceeded, Quotas, Room


class Admission:
    """Counts what is past the parser; while nobody can tell what that is, a document waits."""

    def __init__(self, reader: UsageReader, settings: ParserSettings, meter: Meter) -> None:
        self._metrics = QuotaMetrics(meter)
        self._quotas = Quotas(
            settings.quota_of,
            reader.admitted,
            fresh_seconds=settings.quota_fresh_seconds,
            settle_seconds=settings.quota_settle_seconds,
            open_when_away=False,
        )

    async def take(self, message: IngestMessage, size_bytes: int, delivery: Delivery) -> Room:
        """Return room for a revision of so many bytes.

        Raises QuotaExceeded, which ends the document; Overloaded or Unavailable, with which it waits and comes again.
        """
        sizes = {message.derived_id(): size_bytes}
        try:
            return await self._quotas.take(delivery.tenant, sizes, after=delivery.sequence)
        except QuotaExceeded as error:
            self._metrics.refused(error.limit, 1)
            raise
