"""Takes some of many, the same ones every time."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def sample(items: Sequence[Item], limit: int | None, seed: int, identify: Callable[[Item], str]) -> list[Item]:
    """Return at most `limit` items in their own order.

    An item is in or out by its id and the seed alone: a smaller sample is part of a larger one, and the order of the
    file has no say.
    """
    if limit is None or limit >= len(items):
        return list(items)
    chosen = sorted(range(len(items)), key=lambda place: _rank(identify(items[place]), seed))[:limit]
    return [items[place] for place in sorted(chosen)]


def _rank(identifier: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{identifier}".encode()).digest()
