import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from contracts.facts import (
    DocumentAccepted,
    DocumentDeleted,
    DocumentFailed,
    DocumentIndexed,
    DocumentParsed,
    DocumentSuperseded,
)
from contracts.messages import Fact, now
from contracts.reads import ChunkCounts, DocumentStatus, DocumentView
from services.gateway.receipts import Receipt
from services.gateway.waiting import MAX_NOTICES, Change, Look, Watches, change_of, wait_until_through

TENANT = "default"


def view(document_id: str, revision: int, status: DocumentStatus) -> DocumentView:
    return DocumentView(
        id=document_id,
        collection="default",
        title=None,
        uri=None,
        status=status,
        revision=revision,
        chunks=ChunkCounts(),
        error=None,
        created_at=now(),
        updated_at=now(),
        metadata={},
    )


def look_at(*recorded: DocumentView) -> Look:
    async def look(document_id: str) -> DocumentView | None:
        return next((item for item in recorded if item.id == document_id), None)

    return look


async def wait(
    receipts: Sequence[Receipt],
    changes: Sequence[Change] = (),
    look: Look | None = None,
    wait_seconds: float = 0.05,
    recheck_seconds: float = 5.0,
) -> list[DocumentStatus]:
    watches = Watches()
    watch = watches.add(TENANT, [receipt.document_id for receipt in receipts])
    for change in changes:
        watches.notify(TENANT, change)
    await wait_until_through(
        receipts, watch, look or look_at(), wait_seconds=wait_seconds, recheck_seconds=recheck_seconds
    )
    return [receipt.status for receipt in receipts]


@pytest.mark.parametrize("status", ["indexed", "failed", "deleted"])
async def test_the_wait_ends_when_every_document_is_through(status: DocumentStatus) -> None:
    receipts = [Receipt("a", "default", 1), Receipt("b", "default", 2)]
    async with asyncio.timeout(5):
        statuses = await wait(receipts, [Change("b", 2, "indexed"), Change("a", 1, status)], wait_seconds=60)
    assert statuses == [status, "indexed"]


async def test_the_wait_ends_with_the_time_and_tells_how_far_each_document_is() -> None:
    assert await wait([Receipt("a", "default", 1)], [Change("a", 1, "processing")]) == ["processing"]


async def test_news_of_an_older_revision_do_not_end_the_wait() -> None:
    assert await wait([Receipt("a", "default", 5)], [Change("a", 4, "indexed")]) == ["accepted"]


async def test_a_document_that_was_written_again_shows_the_later_state() -> None:
    later = look_at(view("a", 6, "processing"))
    async with asyncio.timeout(5):
        statuses = await wait([Receipt("a", "default", 5)], [Change("a", 6, "accepted")], later, wait_seconds=60)
    assert statuses == ["processing"]


async def test_a_duplicate_that_is_through_already_is_not_waited_for() -> None:
    through = look_at(view("a", 5, "indexed"))
    async with asyncio.timeout(5):
        assert await wait([Receipt("a", "default", 5, duplicate=True)], [], through, wait_seconds=60) == ["indexed"]


async def test_a_lost_notice_only_delays_the_end() -> None:
    through = look_at(view("a", 5, "indexed"))
    async with asyncio.timeout(5):
        statuses = await wait([Receipt("a", "default", 5)], [], through, wait_seconds=60, recheck_seconds=0.01)
    assert statuses == ["indexed"]


async def test_what_is_recorded_counts_when_the_time_is_up() -> None:
    assert await wait([Receipt("a", "default", 5)], [], look_at(view("a", 5, "failed"))) == ["failed"]


async def test_a_record_that_lags_behind_changes_nothing() -> None:
    assert await wait([Receipt("a", "default", 5)], [], look_at(view("a", 4, "indexed"))) == ["accepted"]


async def test_notices_reach_only_the_tenant_they_belong_to() -> None:
    watches = Watches()
    watch = watches.add("theirs", ["a"])
    watches.notify("ours", Change("a", 1, "indexed"))
    assert await watch.next(0.01) is None


async def test_notices_that_nobody_takes_are_bounded_and_the_newest_stay() -> None:
    watches = Watches()
    watch = watches.add(TENANT, ["a"])
    for revision in range(MAX_NOTICES + 5):
        watches.notify(TENANT, Change("a", revision, "accepted"))
    oldest = await watch.next(1)
    assert oldest is not None
    assert oldest.revision == 5


def test_nobody_is_watched_for_after_the_last_has_left() -> None:
    watches = Watches()
    first, second = watches.add(TENANT, ["a", "b", "a"]), watches.add(TENANT, ["a"])
    watches.remove(first, TENANT, ["a", "b", "a"])
    assert len(watches) == 1
    watches.remove(second, TENANT, ["a"])
    assert not watches


def facts() -> list[tuple[Fact, str | None]]:
    of: dict[str, Any] = {"tenant": TENANT, "document_id": "a", "revision": 3}
    return [
        (DocumentAccepted(**of, collection="c", op="upsert"), "accepted"),
        (DocumentAccepted(**of, collection="c", op="delete"), None),
        (DocumentParsed(**of, batches=1, chunks=7, characters=9, media_type="text/plain"), "processing"),
        (DocumentIndexed(**of, collection="c", chunks=7), "indexed"),
        (DocumentFailed(**of, code="corrupt", message="cannot be read"), "failed"),
        (DocumentDeleted(**of), "deleted"),
        (DocumentSuperseded(**of, current_revision=4), None),
    ]


@pytest.mark.parametrize(("fact", "status"), facts(), ids=lambda value: type(value).__name__)
def test_each_fact_is_the_state_change_that_a_reader_sees(fact: Fact, status: str | None) -> None:
    change = change_of(fact)
    assert (change.status if change else None) == status
