"""Documents from a caller to the queue, and the wait for what becomes of them."""

from services.gateway.gateway import Gateway
from services.gateway.idempotency import IdempotencyKey
from services.gateway.problems import invalid_request
from services.gateway.receipts import Receipt
from services.gateway.submissions import Submission, Submissions, random_object
from services.gateway.waiting import refresh, wait_until_through


def check_wait(gateway: Gateway, wait_s: float) -> None:
    """Raise RequestProblem 422 when a caller wants to wait for longer than may be."""
    if wait_s > (longest := gateway.settings.gateway_max_wait_seconds):
        raise invalid_request(f"must be at most {longest:g}", field="wait_s")


def submissions(gateway: Gateway, key: IdempotencyKey | None) -> Submissions:
    """Return what makes submissions that fit this gateway's broker and limits."""
    return Submissions(
        max_payload_bytes=gateway.max_payload_bytes,
        max_document_bytes=gateway.settings.gateway_max_document_bytes,
        name_object=key.object_name if key else random_object,
    )


async def send(
    gateway: Gateway, tenant: str, sent: list[Submission], key: IdempotencyKey | None, wait_s: float
) -> list[Receipt]:
    """Return a receipt of every document once all are stored; with `wait_s` they say what became of them until then.

    Raises what `Ingestion.accept` raises, and Overloaded when too many callers wait.
    """
    look = gateway.reads.quiet_look(tenant)
    if not wait_s:
        receipts = await gateway.ingestion.accept(tenant, sent, key)
        await refresh([receipt for receipt in receipts if receipt.duplicate], look)
        return receipts
    ids = {submission.document_id for submission in sent}
    with gateway.waiting_seats.taken():
        async with gateway.notices.watching(tenant, ids) as watch:
            receipts = await gateway.ingestion.accept(tenant, sent, key)
            recheck_seconds = gateway.settings.gateway_recheck_seconds
            await wait_until_through(receipts, watch, look, wait_seconds=wait_s, recheck_seconds=recheck_seconds)
            return receipts
