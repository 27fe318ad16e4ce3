"""One figure of the table: its rounds, the yardstick of the same run beside it, and the limit that it keeps or not."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Relation(StrEnum):
    """How a figure stands to its yardstick: divided by it, or what it has above it."""

    RATIO = "ratio"
    EXCESS = "excess"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What the figure is read against, measured in turns with it: one value for each round of the figure."""

    name: str
    rounds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """The bound of a figure, or of its relation to the yardstick where there is one."""

    bound: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {number(self.bound)}"

    def kept_by(self, value: float) -> bool:
        """Return whether a value is within the bound; what is no number never is."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(bound: float) -> Limit:
    """Return a lower bound."""
    return Limit(bound, at_least=True)


def at_most(bound: float) -> Limit:
    """Return an upper bound."""
    return Limit(bound)


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with one value for each round; ValueError without rounds, or when a yardstick has not as many.

    `letter` is the part of the bench it comes from. `limited` is the value that the limit is about.
    """

    letter: str
    figure: str
    unit: str
    rounds: tuple[float, ...]
    yardstick: Yardstick | None = None
    relation: Relation = Relation.RATIO
    limit: Limit | None = None

    def __post_init__(self) -> None:
        if not self.rounds:
            raise ValueError(f"{self.letter}: {self.figure} has no rounds")
        if self.yardstick is not None and len(self.yardstick.rounds) != len(self.rounds):
            raise ValueError(f"{self.letter}: {self.figure} and its yardstick have not the same number of rounds")

    @property
    def value(self) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """Return the lowest and the highest round."""
        return min(self.rounds), max(self.rounds)

    @property
    def related(self) -> float | None:
        """Return the median of the relations of each round to its neighbour's, which drift of the machine leaves."""
        if self.yardstick is None:
            return None
        pairs = list(zip(self.rounds, self.yardstick.rounds, strict=True))
        if self.relation is Relation.EXCESS:
            return statistics.median(found - beside for found, beside in pairs)
        return statistics.median(ratio(found, beside) for found, beside in pairs)

    @property
    def limited(self) -> float:
        """Return the relation to the yardstick, or the value where there is none."""
        related = self.related
        return self.value if related is None else related

    @property
    def passed(self) -> bool:
        """Return whether the limit is kept; true where there is none."""
        return self.limit is None or self.limit.kept_by(self.limited)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the row that `as_json` told of; what follows from its rounds is computed anew."""
        beside, limit = kept["yardstick"], kept["limit"]
        return cls(
            letter=kept["row"],
            figure=kept["figure"],
            unit=kept["unit"],
            rounds=tuple(kept["rounds"]),
            yardstick=Yardstick(beside["name"], tuple(beside["rounds"])) if beside else None,
            relation=Relation(kept["relation"]) if beside else Relation.RATIO,
            limit=Limit(**limit) if limit else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything that the table shows, and each round."""
        return {
            "row": self.letter,
            "figure": self.figure,
            "unit": self.unit,
            "value": self.value,
            "spread": self.spread,
            "rounds": self.rounds,
            "yardstick": {"name": self.yardstick.name, "rounds": self.yardstick.rounds} if self.yardstick else None,
            "relation": self.relation.value if self.yardstick else None,
            "related": self.related,
            "limit": {"bound": self.limit.bound, "at_least": self.limit.at_least} if self.limit else None,
            "passed": self.passed,
        }


def ratio(found: float, beside: float) -> float:
    """Return how many times the yardstick a value is; infinity when the yardstick is nothing."""
    return found / beside if beside else float("inf")


def number(value: float) -> str:
    """Return a number as a table shows it: three digits that count, thousands apart."""
    if not math.isfinite(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
