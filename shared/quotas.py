"""Who may add documents: a tenant's quota, what it uses of it, and room that is taken before anything is stored.

    fits, even if every document is new and nothing was deleted lately  ──► room at once, nobody is asked
    does not                                                            ──► what is used is looked up, again and again
                                                                            until it fits, or surely does not

What is used is known as of a place in the streams: whatever this process has added behind that place, or is about to
add, it counts itself. So one process never lets in more than fits; several may, each what it takes while its knowledge
of the others is fresh.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from shared.errors import Overloaded, Rejected, Unavailable
from shared.logs import get_logger

log = get_logger(__name__)

CODE: Final = "quota_exceeded"
PENDING: Final = "quota_pending"
LIMITS: Final = ("documents", "bytes")
MAX_ACCOUNTS: Final = 10_000
# More of them are counted as one, as of the last one's place.
MAX_ADDED: Final = 4_096
# What a burst may take before it has to rest.
LENT_SECONDS: Final = 4.0
# A service that does not answer is not asked again at once.
AWAY_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Amount:
    """Documents, and bytes of what they were sent as."""

    documents: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.documents + other.documents, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a tenant may have; None stands for any amount."""

    documents: int | None = None
    size_bytes: int | None = None

    @property
    def is_bounded(self) -> bool:
        """Tell whether there is anything to check."""
        return self.documents is not None or self.size_bytes is not None

    def exceeded(self, used: Amount, more: Amount) -> str | None:
        """Return which limit keeps `more` out (one of LIMITS), None when it fits; what adds nothing always fits."""
        if self.documents is not None and more.documents and used.documents + more.documents > self.documents:
            return "documents"
        if self.size_bytes is not None and more.size_bytes and used.size_bytes + more.size_bytes > self.size_bytes:
            return "bytes"
        return None


class QuotaExceeded(Rejected):
    """There is no room for what a tenant wants to add; `limit` is one of LIMITS, `allowed` and `used` its numbers."""

    code = CODE

    def __init__(self, limit: str, quota: Quota, used: Amount, more: Amount) -> None:
        count = limit == "documents"
        self.limit = limit
        self.allowed = (quota.documents if count else quota.size_bytes) or 0
        self.used = used.documents if count else used.size_bytes
        adds = more.documents if count else more.size_bytes
        what = "documents" if count else "bytes of documents"
        super().__init__(
            f"the tenant may have {self.allowed} {what} and has {self.used}; this would add {adds}. "
            "Delete documents, or have the quota raised"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """How far two streams have come."""

    ingest: int = 0
    facts: int = 0

    def is_behind(self, other: "Place") -> bool:
        """Tell whether anything up to this place is not yet up to the other one."""
        return self.ingest > other.ingest or self.facts > other.facts


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tenant uses, with everything up to `place` in it, and what single documents count of it.

    `last` is the last message that documents came in, when the looking began.
    """

    used: Amount
    of: Mapping[str, int]
    place: Place
    last: int = 0


Read = Callable[[str, Sequence[str]], Awaitable[Reading]]


@dataclass(slots=True)
class _Account:
    """What is known of one tenant's use."""

    reading: Reading | None = None
    read_at: float = 0.0
    away_until: float = 0.0
    owed_until: float = 0.0
    reserved: Amount = Amount()
    added: list[tuple[Place, Amount]] = field(default_factory=list)
    added_in_all: Amount = Amount()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def used(self) -> Amount:
        """Return what is used at most, what is still on its way included."""
        read = self.reading.used if self.reading else Amount()
        return read + self.reserved + self.added_in_all

    def learn(self, reading: Reading, at: float) -> None:
        self.reading, self.read_at, self.away_until = reading, at, 0.0
        self.added = [(place, amount) for place, amount in self.added if place.is_behind(reading.place)]
        self.added_in_all = _sum(amount for _, amount in self.added)

    def add(self, place: Place, amount: Amount) -> None:
        self.added.append((place, amount))
        self.added_in_all += amount
        if len(self.added) > MAX_ADDED:
            places = [each for each, _ in self.added]
            furthest = Place(max(each.ingest for each in places), max(each.facts for each in places))
            self.added = [(furthest, self.added_in_all)]


class Room:
    """Room that was taken for documents; what is not marked as added is free again when the block ends."""

    def __init__(self, account: _Account | None = None, amounts: Mapping[str, Amount] | None = None) -> None:
        self._account = account
        self._amounts = dict(amounts or {})
        if account is not None:
            account.reserved += _sum(self._amounts.values())

    def added(self, document_id: str, place: Place) -> None:
        """Count a document from now on, until what is used is known as of a place that is not before this one."""
        amount = self._amounts.pop(document_id, None)
        if self._account is not None and amount is not None:
            self._account.reserved = _less(self._account.reserved, amount)
            self._account.add(place, amount)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Free what was not added."""
        if self._account is not None:
            self._account.reserved = _less(self._account.reserved, _sum(self._amounts.values()))
        self._amounts.clear()


class Quotas:
    """Keeps tenants within their quotas, as far as this process is asked.

    A tenant that has none costs nothing. With `open_when_away` documents get in while nobody can tell what is used.
    `rest` says how many times as long as it took to find no room passes, after the first few times, before a tenant is
    looked at again: whoever goes on sending all the same takes no more than that share of who is asked.
    """

    def __init__(
        self,
        quota_of: Callable[[str], Quota],
        read: Read,
        *,
        fresh_seconds: float,
        settle_seconds: float,
        open_when_away: bool,
        rest: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._quota_of = quota_of
        self._read = read
        self._fresh_seconds = fresh_seconds
        self._settle_seconds = settle_seconds
        self._open_when_away = open_when_away
        self._rest = rest
        self._clock = clock
        self._sleep = sleep
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    async def take(self, tenant: str, sizes: Mapping[str, int], *, after: int | None = None) -> Room:
        """Return room for documents, given as the size in bytes by id.

        Nothing is refused before all that came before `after` in the queue of documents is counted, deletes too; None
        stands for all that is there now. Raises QuotaExceeded, and Overloaded when it could not be certain in time;
        Unavailable when nobody can tell, unless documents get in then.
        """
        quota = self._quota_of(tenant)
        if not quota.is_bounded or not sizes:
            return Room()
        account = self._account(tenant)
        at_most = {document_id: Amount(1, size) for document_id, size in sizes.items()}
        if self._is_fresh(account) and quota.exceeded(account.used, _sum(at_most.values())) is None:
            return Room(account, at_most)
        if self._is_away(account):
            return Room(account, at_most)
        try:
            return await self._look(tenant, account, quota, sizes, after)
        except Unavailable as error:
            if not self._open_when_away:
                raise
            if account.away_until == 0.0:
                log.warning("quota_not_checked", reason=error)
            account.away_until = self._clock() + AWAY_SECONDS
            return Room(account, at_most)

    async def _look(
        self, tenant: str, account: _Account, quota: Quota, sizes: Mapping[str, int], after: int | None
    ) -> Room:
        """Look up what is used until the documents fit or surely do not."""
        deadline = self._clock() + self._settle_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            # One look at a time, so that no two of them take the same room.
            async with account.lock:
                if self._is_away(account):
                    raise Unavailable("nobody could tell a moment ago what is used", away=True)
                await self._rested(account, deadline)
                began = self._clock()
                reading = await self._read(tenant, list(sizes))
                account.learn(reading, self._clock())
                amounts = {document_id: _more(size, reading.of.get(document_id)) for document_id, size in sizes.items()}
                more = _sum(amounts.values())
                if (limit := quota.exceeded(account.used, more)) is None:
                    return Room(account, amounts)
            after = reading.last + 1 if after is None else after
            surely = quota.exceeded(reading.used, more)
            if surely is not None and reading.place.ingest >= after - 1:
                account.owed_until = max(account.owed_until, began) + self._rest * (account.read_at - began)
                raise QuotaExceeded(surely, quota, reading.used, more)
            if self._clock() + pause_seconds > deadline:
                raise Overloaded(
                    f"whether the quota of {limit} has room for this depends on what was sent or deleted lately, which "
                    "is not recorded yet",
                    code=PENDING,
                )
            await self._sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _rested(self, account: _Account, deadline: float) -> None:
        """Wait until the tenant may be looked at again; Overloaded when that is too late for who waits."""
        now, until = self._clock(), account.owed_until - LENT_SECONDS
        if max(now, until) > deadline:
            raise Overloaded("too much is sent that the quota has no room for", code=PENDING)
        if until > now:
            await self._sleep(until - now)

    def _is_fresh(self, account: _Account) -> bool:
        return account.reading is not None and self._clock() - account.read_at <= self._fresh_seconds

    def _is_away(self, account: _Account) -> bool:
        return self._open_when_away and self._clock() < account.away_until

    def _account(self, tenant: str) -> _Account:
        account = self._accounts.setdefault(tenant, _Account())
        self._accounts.move_to_end(tenant)
        if len(self._accounts) > MAX_ACCOUNTS:
            self._accounts.popitem(last=False)
        return account


def _more(size: int, counted: int | None) -> Amount:
    """Return what a document adds to what it counts already, None for nothing."""
    return Amount(1, size) if counted is None else Amount(0, max(0, size - counted))


def _sum(amounts: Iterable[Amount]) -> Amount:
    documents = size_bytes = 0
    for amount in amounts:
        documents += amount.documents
        size_bytes += amount.size_bytes
    return Amount(documents, size_bytes)


def _less(amount: Amount, other: Amount) -> Amount:
    return Amount(amount.documents - other.documents, amount.size_bytes - other.size_bytes)
