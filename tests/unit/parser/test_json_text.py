import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Section, Source
from services.parser.formats.json_text import extract
from tests.unit.parser.bodies import bodies

Place = tuple[tuple[str, ...], str]


def places(text: str) -> list[Place]:
    found = bodies(extract(Source(text.encode(), "application/json")).blocks)
    return [(section.heading_path, section.text) for section in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": "x", "c": true, "d": null, "e": ""}', [((), "a: 1\nb: x\nc: true")]),
        ('{"a": {"b": {"c": 1}}, "d": 2}', [(("a", "b"), "c: 1"), (("d",), "d: 2")]),
        ('{"a": {"b": {"c": 1}, "d": 2}}', [(("a", "b"), "c: 1"), (("a",), "d: 2")]),
        ('{"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}', [(("a", "b", "c", "d"), "e.f: 1")]),
        ('[{"a": 1}, {"a": 2}]', [((), "a: 1"), ((), "a: 2")]),
        ('{"rows": [{"a": 1}, {"a": 2}]}', [(("rows",), "a: 1"), (("rows",), "a: 2")]),
        (
            '[{"a": {"b": 1}, "t": ["x", "y"], "s": [{"n": 1}, {"n": 2}]}]',
            [((), "a.b: 1\nt: x, y\ns[0].n: 1\ns[1].n: 2")],
        ),
        ('{"t": ["x", "y"]}', [(("t",), "x\ny")]),
        ('{"a": 1}\n{"a": 2}\n', [((), "a: 1"), ((), "a: 2")]),
        ('"text"', [((), "text")]),
        ("[]", []),
        ('{"a": {}, "b": [], "c": [{}]}', []),
    ],
)
def test_keys_around_a_value_are_headings_down_to_the_first_array(text: str, expected: list[Place]) -> None:
    assert places(text) == expected


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400", "0.10", "1" * 6_000])
def test_numbers_stay_as_they_are_written(number: str) -> None:
    assert places(f'{{"a": {number}}}') == [((), f"a: {number}")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": "cut', ["a: 1", '"cut']),
        ('{"a": 1, b: 2}', ["a: 1", "b: 2}"]),
        ('{"a": 1}}', ["a: 1", "}"]),
        ('{"a": 1,\n "b": 2,}', ["a: 1\nb: 2"]),
        ("not JSON at all", ["not JSON at all"]),
    ],
)
def test_what_stands_behind_a_break_is_text(text: str, expected: list[str]) -> None:
    assert [found.strip(", ") for _, found in places(text)] == [one.strip(", ") for one in expected]


def test_nesting_is_bounded() -> None:
    assert places("[" * 100 + '"deep"' + "]" * 100) == [((), "deep")]
    assert places('{"a":' * 100_000)


def test_the_title_is_the_documents_own() -> None:
    assert (
        extract(Source(b'{"id": 1, "title": "Report", "body": {"title": "Other"}}', "application/json")).title
        == "Report"
    )

    assert extract(Source(b'{"body": {"title": "Other"}}', "application/json")).title is None


def test_escapes_are_characters() -> None:
    assert places(r'{"a": "caf\u00e9 \ud83d\ude00\n\"x\""}') == [((), 'a: café \U0001f600\n"x"')]


def test_a_long_list_is_read_in_parts() -> None:
    found = [text for _, text in places(json.dumps([f"value {number}" for number in range(200)]))]
    assert len(found) == 4
    assert "\n".join(found).split("\n") == [f"value {number}" for number in range(200)]


JSON_VALUES = st.recursive(
    st.integers() | st.booleans() | st.from_regex(r"\A[a-z]{1,8}\Z"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"\A[a-z]{1,4}\Z"), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_every_value_is_found(value: object) -> None:
    read = " ".join(text for _, text in places(json.dumps(value)))
    assert all(leaf in read for leaf in leaves(value))


@given(st.text(st.sampled_from('{}[]",: \\a1tru\n'), max_size=80))
def test_nothing_fails(text: str) -> None:
    assert all(isinstance(section, Section) for section in bodies(extract(Source(text.encode(), "")).blocks))


def leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value if isinstance(value, str) else json.dumps(value)]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('{"title": "T", "a": 1}', "T"),
        ('{"title": "T"}\n{"title": "U"}', None),
        ('[{"title": "T"}, {"title": "U"}]', None),
        ('{"a": {"title": "T"}, "b": 1}', None),
    ],
)
def test_only_a_single_object_names_the_document(text: str, title: str | None) -> None:
    assert extract(Source(text.encode(), "application/json")).title == title
