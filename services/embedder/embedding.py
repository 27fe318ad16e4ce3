"""What a model must offer, what an embedder promises, and how embedding fails.

    shared.errors.PlatformError
    ├── Retryable
    │   ├── Overloaded                  the interactive lane is full; nothing was computed
    │   └── Unavailable
    │       └── EmbeddingUnavailable    timeout, lost connection, 429, 5xx, bad credentials, shutting down
    │           └── InvalidAnswer       a server answered something that is not the model's vectors
    ├── Rejected
    │   └── EmbeddingRefused            the model will never take this text
    └── DeadlineExpired                 nobody waits for the vectors any more

InvalidVector, a ValueError, is a fault of ours: a model in this process made something that is not one of its vectors.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import DeadlineExpired, Overloaded, Rejected, Unavailable

__all__ = [
    "DeadlineExpired",
    "Embedder",
    "EmbeddingModel",
    "EmbeddingRefused",
    "EmbeddingUnavailable",
    "InvalidAnswer",
    "InvalidVector",
    "Overloaded",
    "Vectors",
    "checked_vectors",
    "unit_vectors",
    "until",
]

Vectors = NDArray[np.float32]


class EmbeddingUnavailable(Unavailable):
    """The model cannot be reached now; the same text may work later."""

    code = "embedding_unavailable"


class InvalidAnswer(EmbeddingUnavailable):
    """A server answered with too few vectors, vectors of another dimension, or none at all.

    Whether that is the server's state or what it makes of one text shows when others are tried.
    """

    code = "invalid_vector"


class EmbeddingRefused(Rejected):
    """The model refuses this text, now and later."""

    code = "embedding_refused"


class InvalidVector(ValueError):
    """The model returned something else than finite, non-zero vectors of its dimension."""


class EmbeddingModel(Protocol):
    """A model that computes on the calling thread; every member may be used from several threads at once.

    `fingerprint` names the model whose vectors may be compared: an index holds one fingerprint only.
    The prefixes are put in front of a text before `embed`.
    """

    @property
    def dimension(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def query_prefix(self) -> str: ...
    @property
    def passage_prefix(self) -> str: ...

    def embed(self, prepared: str, *, alone: bool = False) -> Vectors:
        """Return the vector of one text that carries its prefix: shape (dimension,), unit length.

        Where it is `alone`, and others need not wait for it, it may take more of the machine to be there sooner.
        """
        ...


class Embedder(Protocol):
    """Vectors for callers, queries before bulk: float32, shape (n, dimension), unit length, in the order of the texts.

    `deadline` is unix seconds. Raises the errors drawn at the top of this module.
    """

    @property
    def dimension(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def max_tokens(self) -> int: ...

    async def embed_passages(
        self, texts: Sequence[str], *, deadline: float | None = None, interactive: bool = False
    ) -> Vectors:
        """Return the vectors of passages, on the bulk lane unless somebody waits for them."""
        ...

    async def embed_queries(self, texts: Sequence[str], *, deadline: float | None = None) -> Vectors:
        """Return the vectors of queries, on the interactive lane."""
        ...

    async def close(self) -> None:
        """Fail what waits and let go of threads and connections, within a bound."""
        ...


def checked_vectors(vectors: NDArray[Any], shape: tuple[int, ...]) -> Vectors:
    """Return `vectors` as float32; InvalidVector unless they have this shape and each a finite length above zero."""
    return _measured(vectors, shape)[0]


def unit_vectors(vectors: NDArray[Any], shape: tuple[int, ...]) -> Vectors:
    """Return checked vectors scaled to unit length along the last axis."""
    checked, lengths = _measured(vectors, shape)
    unit: Vectors = checked / lengths[..., np.newaxis]
    return unit


def _measured(vectors: NDArray[Any], shape: tuple[int, ...]) -> tuple[Vectors, Vectors]:
    if vectors.shape != shape:
        raise InvalidVector(f"the model returned shape {vectors.shape}, expected {shape}: check the model's dimension")
    with np.errstate(over="ignore", invalid="ignore"):
        single = vectors.astype(np.float32, copy=False)
        lengths = np.linalg.norm(single, axis=-1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InvalidVector("the model returned a vector of zeros, NaN or infinity")
    return single, lengths


@asynccontextmanager
async def until(deadline: float | None, clock: Callable[[], float]) -> AsyncIterator[None]:
    """Cancel the body and raise DeadlineExpired once `clock` has passed `deadline`; without one, wait forever."""
    left = None if deadline is None else deadline - clock()
    if left is not None and left <= 0:
        raise DeadlineExpired("the deadline had passed before embedding began")
    try:
        async with asyncio.timeout(left) as timer:
            yield
    except TimeoutError:
        if not timer.expired():
            raise
        raise DeadlineExpired("the deadline passed while the texts waited for their vectors") from None
