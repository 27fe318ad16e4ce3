"""Epochs that are asked for many questions at once: never older than any of them."""

import asyncio
import time
from typing import TypeVar, cast

import pytest

from contracts.messages import Message
from contracts.retrieval import EpochRequest
from services.agent.epochs import Epochs
from shared.errors import Unavailable
from tests.running import eventually

A = TypeVar("A", bound=Message)


class Index:
    """Tells the epoch as it is when a request comes, once it is let."""

    def __init__(self, *, answers: bool = True) -> None:
        self.epoch = 0
        self.away = False
        self.requests: list[EpochRequest] = []
        self.answers = asyncio.Event()
        if answers:
            self.answers.set()

    async def __call__(self, subject: str, request: Message, reply: type[A], *, deadline: float | None = None) -> A:
        self.requests.append(cast(EpochRequest, request))
        told = str(self.epoch)
        await self.answers.wait()
        if self.away:
            raise Unavailable("away")
        return reply.model_validate({"epoch": told})


def epochs_of(index: Index, seconds: float = 30.0) -> Epochs:
    return Epochs(index, seconds=seconds)


async def test_who_comes_at_once_shares_a_request() -> None:
    index = Index()
    epochs = epochs_of(index)
    assert await asyncio.gather(*(epochs.of("acme", "notes") for _ in range(32))) == ["0"] * 32
    assert len(index.requests) == 1


async def test_nobody_is_told_what_was_before_he_came() -> None:
    """INVARIANT: a change that ended before a question came is in the epoch that it gets.

    Joining a request that is on its way would break it: the retriever may have read the epoch already.
    """
    index = Index(answers=False)
    epochs = epochs_of(index)
    early = asyncio.create_task(epochs.of("acme", "notes"))
    await eventually(lambda: len(index.requests) == 1, "the first request is on its way")
    index.epoch = 1
    late = [asyncio.create_task(epochs.of("acme", "notes")) for _ in range(8)]
    await asyncio.sleep(0)
    assert len(index.requests) == 1
    index.epoch = 2
    index.answers.set()
    assert await early == "0"
    assert await asyncio.gather(*late) == ["2"] * 8
    assert len(index.requests) == 2


async def test_no_epoch_is_kept() -> None:
    index = Index()
    epochs = epochs_of(index)
    assert await epochs.of("acme", "notes") == "0"
    index.epoch = 1
    assert await epochs.of("acme", "notes") == "1"


async def test_tenants_and_collections_share_nothing() -> None:
    index = Index()
    epochs = epochs_of(index)
    searched = [("acme", "notes"), ("acme", None), ("other", "notes")]
    await asyncio.gather(*(epochs.of(tenant, collection) for tenant, collection in searched * 2))
    assert [(one.tenant, one.collection) for one in index.requests] == searched


async def test_a_request_that_fails_does_not_hold_up_the_next() -> None:
    index = Index(answers=False)
    epochs = epochs_of(index)
    index.away = True
    first = [asyncio.create_task(epochs.of("acme", None)) for _ in range(3)]
    await eventually(lambda: len(index.requests) == 1, "the request is on its way")
    second = asyncio.create_task(epochs.of("acme", None))
    index.answers.set()
    assert await asyncio.gather(*first, second) == [None] * 4
    index.away = False
    assert await epochs.of("acme", None) == "0"


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    index = Index(answers=False)
    epochs = epochs_of(index)
    asking = [asyncio.create_task(epochs.of("acme", None)) for _ in range(3)]
    await eventually(lambda: len(index.requests) == 1, "the request is on its way")
    asking[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking[0]
    index.answers.set()
    assert await asyncio.gather(*asking[1:]) == ["0", "0"]


async def test_who_has_no_time_left_waits_for_nobody() -> None:
    index = Index(answers=False)
    epochs = epochs_of(index)
    patient = asyncio.create_task(epochs.of("acme", None))
    assert await epochs.of("acme", None, time.time() + 0.05) is None
    assert await epochs_of(index, seconds=0.05).of("acme", None) is None
    index.answers.set()
    assert await patient == "0"
