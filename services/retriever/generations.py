"""The indexes that are open: that of one model, or while another model takes over those of both.

Both get every write. Chunks go into the next index first and are taken out of it last, so that it never lacks what
went into the present one meanwhile; searches use the active index alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from services.retriever.index import IndexUnavailable, ModelMismatch, VectorIndex
from shared.logs import get_logger
from shared.settings import model_variables

log = get_logger(__name__)

# Replicas search the same index at most this much later than the one that switched.
FOLLOW_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class IndexedModel:
    """A model as an index knows it."""

    fingerprint: str
    dimension: int


class Catalogue(Protocol):
    """Which indexes are stored, which of them is searched, and which one is being filled.

    Every call may raise IndexUnavailable. What a call changed is durable, and seen by every replica.
    """

    async def active(self) -> str | None:
        """Return the model whose index is searched; None while nothing is stored."""
        ...

    async def upcoming(self) -> str | None:
        """Return the model whose index is being filled, if any."""
        ...

    async def open(self, model: IndexedModel) -> VectorIndex:
        """Open the index of a model, created on first use; raises what the index raises."""
        ...

    async def set_active(self, model: str) -> None:
        """Have searches use the index of this model, which exists; nothing is being filled from then on."""
        ...

    async def set_upcoming(self, model: str | None) -> None:
        """Record whose index, which exists, is being filled."""
        ...

    async def discard(self, model: str) -> None:
        """Remove the index of a model, if there is one."""
        ...

    async def tidy(self, keep: str) -> None:
        """Remove the indexes of other models where this process alone owns them; elsewhere name them in the log."""
        ...

    async def close(self) -> None:
        """Let go of connections; indexes stay open."""
        ...


@dataclass(frozen=True, slots=True)
class Generation:
    """One open index and the model whose vectors it holds."""

    model: str
    index: VectorIndex


class Generations:
    """One or two open indexes, in the order in which their models came; made by `open_generations`."""

    def __init__(
        self, catalogue: Catalogue, opened: Sequence[Generation], *, active: str, next_model: str | None
    ) -> None:
        self._catalogue = catalogue
        self._opened = tuple(opened)
        self._active = active
        self.next_model = next_model

    @property
    def opened(self) -> tuple[Generation, ...]:
        """Return every open index; IndexUnavailable once searches use one that is not among them."""
        self._require_active()
        return self._opened

    @property
    def active(self) -> Generation:
        """Return the index that searches use; IndexUnavailable when this process does not have it open."""
        return self._require_active()

    def observe(self, wrap: Callable[[VectorIndex], VectorIndex]) -> None:
        """Put something around every index that is open."""
        self._opened = tuple(replace(each, index=wrap(each.index)) for each in self._opened)

    async def activate(self, generation: Generation) -> None:
        """Have searches use this index, here at once and on other replicas within a second."""
        await self._catalogue.set_active(generation.model)
        self._set_active(generation.model)

    async def follow(self) -> None:
        """Learn for ever what other replicas activate; while that cannot be read, the last known holds."""
        while True:
            try:
                self._set_active(await self._catalogue.active() or self._active)
            except Exception as error:  # A replica that stopped looking would search an outdated index for good.
                log.warning("active_index_unknown", kept=self._active, reason=error)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def close(self) -> None:
        """Close every index."""
        for generation in self._opened:
            await generation.index.close()
        await self._catalogue.close()

    def _set_active(self, model: str) -> None:
        if model != self._active:
            log.info("active_index_switched", model=model, before=self._active)
        self._active = model

    def _require_active(self) -> Generation:
        for generation in self._opened:
            if generation.model == self._active:
                return generation
        raise IndexUnavailable(
            f"searches use the index of model {self._active!r} by now, which this process is not configured for",
            code="model_mismatch",
        )


async def open_generations(
    catalogue: Catalogue, current: IndexedModel, upcoming: IndexedModel | None = None
) -> Generations:
    """Open what is configured.

    Raises ModelMismatch when the active index is that of a third model, and what opening an index raises. An index
    that was filled before, but not all the time since, has missed deletes: it is begun anew.
    """
    active = await catalogue.active()
    if active is None:
        first = Generation(current.fingerprint, await catalogue.open(current))
        await catalogue.set_active(current.fingerprint)
        return await _with_upcoming(catalogue, first, upcoming)
    if active == current.fingerprint:
        return await _with_upcoming(catalogue, Generation(active, await catalogue.open(current)), upcoming)
    if upcoming is not None and active == upcoming.fingerprint:
        log.info("next_model_is_active", model=active, hint=f"set {model_variables(active)} and no next model")
        switched = Generation(active, await catalogue.open(upcoming))
        return Generations(catalogue, [switched], active=active, next_model=active)
    raise ModelMismatch(_refusal(active, current.fingerprint))


async def _with_upcoming(catalogue: Catalogue, first: Generation, upcoming: IndexedModel | None) -> Generations:
    if upcoming is None:
        await catalogue.set_upcoming(None)
        await catalogue.tidy(first.model)
        return Generations(catalogue, [first], active=first.model, next_model=None)
    name = upcoming.fingerprint
    begun = await catalogue.upcoming() == name
    if not begun:
        await catalogue.discard(name)
    second = Generation(name, await catalogue.open(upcoming))
    if not begun:
        await catalogue.set_upcoming(name)
    return Generations(catalogue, [first, second], active=first.model, next_model=name)


def _refusal(active: str, configured: str) -> str:
    # A collection of an earlier release may not say more than its own name.
    again = model_variables(active) if "@" in active else "RAG_EMBEDDING_MODEL=…"
    return (
        f"the index holds vectors of model {active!r}, but model {configured!r} is configured; configure the first"
        f" model again ({again}), or to change the model without a gap set {again}"
        f" {model_variables(configured, 'RAG_NEXT_')}, start, and run `rag reindex`"
    )
