"""The epochs of a tenant's indexes: two equal ones mean that no search can tell anything new in between.

An epoch changes after what it stands for has changed, and before anybody is told that it has. So who reads the epoch,
then searches, and keeps what was found under that epoch, never finds it again once a change has been acknowledged:
what is kept under an epoch was searched after every change that the epoch knows.
"""

import secrets
import time
from collections import Counter
from collections.abc import Collection
from typing import Final, Protocol

from services.retriever.generations import Generations
from services.retriever.index import VectorIndex, collection_fence

# Some hundred bytes each; beyond it everything counts as changed once.
MAX_COUNTED: Final = 100_000
_NONCE_BYTES: Final = 8
# No collection's name holds the mark of collections' fences, so that no fence of one is called like these.
_MARK: Final = collection_fence("")
_ANYTHING: Final = collection_fence(f"{_MARK}a")
_WHOLE_TENANT: Final = collection_fence(f"{_MARK}w")


class Epochs(Protocol):
    """What becomes visible or hidden, counted by tenant and collection."""

    async def changed(self, tenant: str, collections: Collection[str]) -> None:
        """Take note that searches of these collections may find something else by now; none = of any of the tenant's.

        Called after the change and before its acknowledgement; may raise IndexUnavailable, and is then to be repeated.
        """
        ...

    async def current(self, tenant: str, collection: str | None) -> str:
        """Return the epoch of a collection, or of everything that a tenant has; may raise IndexUnavailable."""
        ...


class OwnEpochs:
    """Epochs of indexes that this process alone writes to: they are counted in memory, and begin anew with it."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._begin()

    async def changed(self, tenant: str, collections: Collection[str]) -> None:
        """Count a change; see `Epochs`."""
        if len(self._counts) > MAX_COUNTED:
            self._begin()
        self._counts.update((tenant, name) for name in _changed_names(collections))

    async def current(self, tenant: str, collection: str | None) -> str:
        """Return the epoch; see `Epochs`."""
        counts = [self._counts.get((tenant, name), 0) for name in _read_names(collection)]
        return _epoch(self._generations.active.model, self._nonce, counts)

    def _begin(self) -> None:
        # A process that was killed between a change and its count must not come back to the epoch before it.
        self._nonce = secrets.token_hex(_NONCE_BYTES)
        self._counts: Counter[tuple[str, str]] = Counter()


class StoredEpochs:
    """Epochs of indexes that replicas share: they lie beside the fences, and are lifted as those are.

    The number is read after the change and lifted to one above it, so whoever sees the new number searches after the
    change; lifting commutes, so two writers that read the same number have both changed before anybody can see the
    next one. It is the time where that is higher: an index that came back from a backup counts on above what it lost.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def changed(self, tenant: str, collections: Collection[str]) -> None:
        """Lift the numbers in every open index: replicas may search different ones for a moment."""
        names = _changed_names(collections)
        for generation in self._generations.opened:
            await _lift(generation.index, tenant, names)

    async def current(self, tenant: str, collection: str | None) -> str:
        """Return the epoch; see `Epochs`."""
        generation = self._generations.active
        names = _read_names(collection)
        stored = await generation.index.fences(tenant, names)
        counts = [stored[name].floor if name in stored else 0 for name in names]
        return _epoch(generation.model, "", counts)


async def _lift(index: VectorIndex, tenant: str, names: Collection[str]) -> None:
    stored = await index.fences(tenant, names)
    now = int(time.time() * 1000)
    following = {name: max(now, stored[name].floor + 1 if name in stored else 1) for name in names}
    for name, number in following.items():
        await index.raise_fence(tenant, name, floor=number)


def _changed_names(collections: Collection[str]) -> list[str]:
    return [_ANYTHING, *(map(_name_of, sorted(set(collections))) if collections else [_WHOLE_TENANT])]


def _read_names(collection: str | None) -> list[str]:
    return [_ANYTHING] if collection is None else [_WHOLE_TENANT, _name_of(collection)]


def _name_of(collection: str) -> str:
    return collection_fence(f"{_MARK}c{collection}")


def _epoch(model: str, nonce: str, counts: Collection[int]) -> str:
    # Another model finds other passages, and a switch between models changes nothing else.
    return ":".join([model, nonce, *map(str, counts)])
