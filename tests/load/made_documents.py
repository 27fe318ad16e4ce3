"""Documents and questions about them, made from a seed; with four sentences one chunk of some fifty words."""

import random
from typing import Any

PLACES = ("harbour", "canal", "lock", "bridge", "quay", "warehouse", "lighthouse", "ferry", "dock", "shipyard")
DEEDS = ("opens", "closes", "was rebuilt", "was measured", "carries freight", "is inspected", "floods", "was sold")
PEOPLE = ("the keeper", "the city", "a cooperative", "the ministry", "an engineer", "the pilots", "a surveyor")
TIMES = ("in spring", "every morning", "after the storm", "in 1932", "before noon", "during the strike", "at high tide")


def document(number: int, collection: str, seed: int = 7, sentences: int = 4) -> dict[str, Any]:
    """Return the `number`-th document."""
    chosen = random.Random(seed * 1_000_003 + number)
    text = " ".join(_sentence(chosen, number) for _ in range(sentences))
    return {"id": f"{collection}-{number}", "collection": collection, "title": f"Report {number}", "text": text}


def question(chosen: random.Random) -> str:
    """Return a question about what the documents tell."""
    return f"When was it that the {chosen.choice(PLACES)} {chosen.choice(DEEDS)} and {chosen.choice(PEOPLE)} knew?"


def _sentence(chosen: random.Random, number: int) -> str:
    place, deed, who, when = (chosen.choice(words) for words in (PLACES, DEEDS, PEOPLE, TIMES))
    return f"The {place} of section {number % 997} {deed} {when}, and {who} recorded {chosen.randrange(10_000)} metres."
