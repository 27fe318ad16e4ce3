"""The filter language of a search, read into a small tree that every index adapter understands.

    {"field": value}                     the document's metadata field has this value
    {"field": [any, of]}                 or one of these
    {"field": {"gte": 1, "lt": 2}}       or lies in this range (gte, gt, lte, lt)
    {"any": [filter, ...]}               one of the filters holds
    {"not": filter}                      the filter does not hold

Several entries of one object must all hold. A metadata value that is a list matches when any of its strings does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeGuard

Scalar: TypeAlias = str | bool | int | float
Number: TypeAlias = int | float

MAX_FIELD_CHARACTERS: Final = 128
# Engines compare a range as float64, which holds every integer only up to here.
MAX_RANGE_BOUND: Final = 2**53
_BOUNDS: Final = ("gte", "gt", "lte", "lt")


class FilterError(ValueError):
    """The filter cannot be used; `path` names the part that is wrong."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field has one of these values; strings, numbers and booleans never equal one another."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The field is a number within all bounds that are given."""

    field: str
    gte: Number | None = None
    gt: Number | None = None
    lte: Number | None = None
    lt: Number | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every filter holds; without filters everything matches."""

    filters: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one filter holds."""

    filters: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The filter does not hold, which includes documents that lack the field."""

    filter: "Filter"


Filter: TypeAlias = OneOf | Between | AllOf | AnyOf | Not


def parse_filter(raw: object, *, max_depth: int = 8, max_values: int = 256, max_text_characters: int = 4_096) -> Filter:
    """Return the filter that `raw` (parsed JSON) says.

    `max_values` bounds all values and bounds of the filter together. Raises FilterError, which names the path
    of what is wrong, for anything outside the language or beyond the limits.
    """
    return _Reader(max_depth, max_values, max_text_characters).filter(raw, "filter", depth=1)


class _Reader:
    def __init__(self, max_depth: int, max_values: int, max_text_characters: int) -> None:
        self._max_depth = max_depth
        self._max_values = max_values
        self._max_text_characters = max_text_characters
        self._values = 0

    def filter(self, raw: object, path: str, depth: int) -> Filter:
        if not isinstance(raw, Mapping):
            raise FilterError(path, f"must be an object, not {_kind(raw)}")
        if depth > self._max_depth:
            raise FilterError(path, f"is nested deeper than {self._max_depth} levels")
        parts = tuple(self._entry(name, value, path, depth) for name, value in raw.items())
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def _entry(self, name: object, value: object, path: str, depth: int) -> Filter:
        here = f"{path}.{name}"
        # Counted per entry as well, so that empty objects cannot grow a filter for free.
        self._count(here)
        if name == "any":
            return self._any(value, here, depth)
        if name == "not":
            return Not(self.filter(value, here, depth + 1))
        return self._condition(self._field(name, path), value, here)

    def _any(self, value: object, path: str, depth: int) -> AnyOf:
        if not _is_list(value) or not value:
            raise FilterError(
                path, "must be a list of at least one filter; no metadata field of this name is reachable"
            )
        return AnyOf(tuple(self.filter(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)))

    def _field(self, name: object, path: str) -> str:
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_FIELD_CHARACTERS:
            raise FilterError(path, f"a field name must be a string of 1 to {MAX_FIELD_CHARACTERS} characters")
        if '"' in name:
            raise FilterError(f"{path}.{name}", "a field name cannot hold a double quote")
        return name

    def _condition(self, field: str, value: object, path: str) -> Filter:
        if isinstance(value, Mapping):
            return self._between(field, value, path)
        if not _is_list(value):
            return OneOf(field, (self._scalar(value, path),))
        if not value:
            raise FilterError(path, "an empty list matches nothing; name at least one value")
        return OneOf(field, tuple(self._scalar(item, f"{path}[{at}]") for at, item in enumerate(value)))

    def _between(self, field: str, bounds: Mapping[Any, object], path: str) -> Between:
        if not bounds:
            raise FilterError(path, f"a range needs at least one of {', '.join(_BOUNDS)}")
        for name in bounds:
            if name not in _BOUNDS:
                raise FilterError(f"{path}.{name}", f"is no range bound; use {', '.join(_BOUNDS)}")
        return Between(field, **{name: self._bound(value, f"{path}.{name}") for name, value in bounds.items()})

    def _bound(self, value: object, path: str) -> Number:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FilterError(path, f"must be a number, not {_kind(value)}")
        self._scalar(value, path)
        if abs(value) > MAX_RANGE_BOUND:
            raise FilterError(path, "is beyond 2^53, where numbers cannot be compared exactly")
        return value

    def _scalar(self, value: object, path: str) -> Scalar:
        self._count(path)
        if not isinstance(value, str | bool | int | float):
            raise FilterError(path, f"must be a string, a number or a boolean, not {_kind(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise FilterError(path, "must be a finite number")
        if isinstance(value, str) and len(value) > self._max_text_characters:
            raise FilterError(path, f"is longer than {self._max_text_characters} characters")
        return value

    def _count(self, path: str) -> None:
        self._values += 1
        if self._values > self._max_values:
            raise FilterError(path, f"the filter has more than {self._max_values} entries and values")


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if _is_list(value) else f"a {type(value).__name__}"
