"""The filter language: what it says, and how it names what is wrong."""

from typing import Any

import pytest

from services.retriever.filters import AllOf, AnyOf, Between, Filter, FilterError, Not, OneOf, parse_filter


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, AllOf(())),
        ({"team": "infra"}, OneOf("team", ("infra",))),
        ({"year": [2025, 2026]}, OneOf("year", (2025, 2026))),
        ({"year": {"gte": 1, "lt": 2.5}}, Between("year", gte=1, lt=2.5)),
        ({"year": {"gt": 1, "lte": 2}}, Between("year", gt=1, lte=2)),
        ({"a": 1, "b": "x"}, AllOf((OneOf("a", (1,)), OneOf("b", ("x",))))),
        ({"any": [{"a": 1}, {"b": 2}]}, AnyOf((OneOf("a", (1,)), OneOf("b", (2,))))),
        ({"not": {"a": 1, "b": 2}}, Not(AllOf((OneOf("a", (1,)), OneOf("b", (2,)))))),
        ({"a": 1, "not": {"any": [{}]}}, AllOf((OneOf("a", (1,)), Not(AnyOf((AllOf(()),)))))),
        ({"site.name [1]": "x"}, OneOf("site.name [1]", ("x",))),
    ],
    ids=str,
)
def test_every_form_of_the_language_is_understood(raw: dict[str, Any], expected: Filter) -> None:
    assert parse_filter(raw) == expected


@pytest.mark.parametrize("value", [True, 1, 1.0, "1"])
def test_a_value_keeps_its_type(value: Any) -> None:
    parsed = parse_filter({"a": value})

    assert isinstance(parsed, OneOf)
    assert type(parsed.values[0]) is type(value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "filter: must be an object, not null"),
        ([{"a": 1}], "filter: must be an object, not a list"),
        ("a", "filter: must be an object, not a str"),
        ({"a": None}, "filter.a: must be a string, a number or a boolean, not null"),
        ({"a": []}, "filter.a: an empty list matches nothing"),
        ({"a": ["x", ["y"]]}, "filter.a[1]: must be a string, a number or a boolean, not a list"),
        ({"a": ["x", {"gte": 1}]}, "filter.a[1]: must be a string, a number or a boolean, not an object"),
        ({"a": float("nan")}, "filter.a: must be a finite number"),
        ({"a": {}}, "filter.a: a range needs at least one of gte, gt, lte, lt"),
        ({"a": {"gte": 1, "eq": 2}}, "filter.a.eq: is no range bound"),
        ({"a": {"gte": "1"}}, "filter.a.gte: must be a number, not a str"),
        ({"a": {"gte": True}}, "filter.a.gte: must be a number, not a bool"),
        ({"a": {"lt": float("inf")}}, "filter.a.lt: must be a finite number"),
        ({"a": {"lt": 2**53 + 1}}, "filter.a.lt: is beyond 2^53"),
        ({"any": {"a": 1}}, "filter.any: must be a list of at least one filter"),
        ({"any": []}, "filter.any: must be a list of at least one filter"),
        ({"any": [{"a": 1}, {"b": None}]}, "filter.any[1].b: must be a string"),
        ({"any": ["a"]}, "filter.any[0]: must be an object"),
        ({"not": [{"a": 1}]}, "filter.not: must be an object"),
        ({"not": {"any": [{"a": {"x": 1}}]}}, "filter.not.any[0].a.x: is no range bound"),
        ({"": 1}, "filter: a field name must be a string of 1 to 128 characters"),
        ({"x" * 129: 1}, "filter: a field name must be a string of 1 to 128 characters"),
        ({7: 1}, "filter: a field name must be a string"),
        ({'a"b': 1}, "a field name cannot hold a double quote"),
    ],
    ids=str,
)
def test_a_mistake_is_refused_by_its_path(raw: object, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(raw)

    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.path}: ")


def nested(levels: int) -> dict[str, Any]:
    raw: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        raw = {"not": raw}
    return raw


def test_a_filter_may_nest_up_to_its_limit_and_no_further() -> None:
    parse_filter(nested(5), max_depth=5)

    with pytest.raises(FilterError, match=r"filter\.not\.not\.not\.not\.not: is nested deeper than 5 levels"):
        parse_filter(nested(6), max_depth=5)


def test_a_hostile_nesting_is_refused_before_it_exhausts_the_stack() -> None:
    with pytest.raises(FilterError, match="nested deeper"):
        parse_filter(nested(100_000))


@pytest.mark.parametrize(
    "raw",
    [
        {"a": list(range(10))},
        {str(field): 1 for field in range(10)},
        {"any": [{"a": {"gte": 1, "lt": 2}}] * 10},
        {"any": [{"not": {}}] * 20},
    ],
    ids=["values", "fields", "bounds", "empty"],
)
def test_a_filter_may_not_grow_beyond_its_limit(raw: dict[str, Any]) -> None:
    with pytest.raises(FilterError, match="more than 10 entries and values"):
        parse_filter(raw, max_values=10)


def test_a_text_may_not_grow_beyond_its_limit() -> None:
    parse_filter({"a": "x" * 5}, max_text_characters=5)

    with pytest.raises(FilterError, match=r"filter\.a: is longer than 5 characters"):
        parse_filter({"a": "x" * 6}, max_text_characters=5)
