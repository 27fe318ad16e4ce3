"""Trace ids: random ones, and one that processes come to by themselves for work that came without a trace."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

_ID_BYTES: Final = 16
_AGREED: ContextVar[int | None] = ContextVar("agreed_trace_id", default=None)


class TraceIds(RandomIdGenerator):
    """Gives a trace that begins a random id, inside `agreed` the same one in every process."""

    def generate_trace_id(self) -> int:
        """Return the id of a trace that begins now."""
        return _AGREED.get() or super().generate_trace_id()


@contextmanager
def agreed(origin: str | None) -> Iterator[None]:
    """Have a trace that begins in the block take its id from what it comes from; None leaves it to chance."""
    digest = hashlib.sha256(origin.encode()).digest() if origin is not None else b""
    token = _AGREED.set(int.from_bytes(digest[:_ID_BYTES], "big") or None)
    try:
        yield
    finally:
        _AGREED.reset(token)
