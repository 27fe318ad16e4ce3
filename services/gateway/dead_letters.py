"""Dead letters of one tenant: looked at, sent again, discarded."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from contracts import subjects
from contracts.dead_letters import (
    MAX_REPLAYED,
    DeadLetterContent,
    DeadLetterListQuery,
    DeadLetterPage,
    DeadLetterQuery,
    DiscardReply,
    DiscardRequest,
    ReplayOutcome,
    ReplayReply,
    ReplayRequest,
)
from contracts.reads import DocumentError
from contracts.topology import INTAKE
from services.gateway.recent import RecentWrites
from services.gateway.schemas import ReplayBody, ReplayCounts
from shared.errors import Conflict, NotFound, Rejected, Unavailable
from shared.messaging.requests import Requester

TOO_LARGE: Final = "too_large"


class DeadLetterDesk:
    """Asks persistence; raises what it raises, Unavailable when it does not answer.

    `patient` waits for what is sent again, message after message.
    """

    def __init__(self, requester: Requester, patient: Requester, recent: RecentWrites) -> None:
        self._requester = requester
        self._patient = patient
        self._recent = recent

    async def page(self, query: DeadLetterListQuery) -> DeadLetterPage:
        """Return a page of letters."""
        return await self._requester.ask(subjects.READ_DEAD_LETTERS, query, DeadLetterPage)

    async def letter(self, tenant: str, seq: int) -> DeadLetterContent:
        """Return one letter with its message; else NotFound."""
        query = DeadLetterQuery(tenant=tenant, seq=seq)
        return await self._patient.ask(subjects.READ_DEAD_LETTER, query, DeadLetterContent)

    async def replay(self, tenant: str, seq: int) -> ReplayOutcome:
        """Send one letter again; NotFound without it, Conflict when it can't be, Unavailable when it may work later."""
        [outcome] = await self._replay(tenant, [seq])
        if outcome.status != "replayed":
            raise _error_of(outcome)
        return outcome

    async def replay_matching(self, tenant: str, body: ReplayBody) -> ReplayCounts:
        """Send those letters again that match, oldest first, until one fails for a reason that the next would share."""
        query = DeadLetterListQuery(tenant=tenant, oldest_first=True, **dict(body))
        page = await self.page(query)
        outcomes: list[ReplayOutcome] = []
        for seqs in _slices([letter.seq for letter in page.items]):
            outcomes += await self._replay(tenant, seqs)
            if outcomes[-1].status == "failed":
                break
        return _counts(page, outcomes)

    async def discard(self, tenant: str, seq: int) -> None:
        """Remove a letter; else NotFound."""
        await self._patient.ask(subjects.DISCARD_DEAD_LETTER, DiscardRequest(tenant=tenant, seq=seq), DiscardReply)

    async def _replay(self, tenant: str, seqs: list[int]) -> list[ReplayOutcome]:
        request = ReplayRequest(tenant=tenant, seqs=seqs)
        reply = await self._patient.ask(subjects.REPLAY_DEAD_LETTERS, request, ReplayReply)
        for outcome in reply.outcomes:
            self._remember(tenant, outcome)
        return reply.outcomes

    def _remember(self, tenant: str, outcome: ReplayOutcome) -> None:
        """Who looks at the document next shall not read of the revision that failed."""
        if outcome.stream == INTAKE.stream and outcome.document_id and outcome.revision and outcome.collection:
            self._recent.record(tenant, outcome.document_id, outcome.revision, outcome.collection)


def _slices(seqs: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(seqs), MAX_REPLAYED):
        yield list(seqs[start : start + MAX_REPLAYED])


def _counts(page: DeadLetterPage, outcomes: Iterable[ReplayOutcome]) -> ReplayCounts:
    by_status = Counter(outcome.status for outcome in outcomes)
    stops = [_stop(outcome) for outcome in outcomes if outcome.status == "failed"]
    return ReplayCounts(
        matched=len(page.items),
        replayed=by_status["replayed"],
        refused=dict(Counter(outcome.code or "" for outcome in outcomes if outcome.status in ("refused", "missing"))),
        stopped=stops[0] if stops else None,
        next_cursor=None if stops else page.next_cursor,
    )


def _stop(outcome: ReplayOutcome) -> DocumentError:
    return DocumentError(code=outcome.code or "", message=outcome.message or "")


def _error_of(outcome: ReplayOutcome) -> Exception:
    message, code = outcome.message or "", outcome.code
    if outcome.status == "missing":
        return NotFound(message, code=code, field="seq")
    if outcome.status == "failed":
        return Unavailable(message, code=code)
    return Rejected(message, code=code) if code == TOO_LARGE else Conflict(message, code=code)
