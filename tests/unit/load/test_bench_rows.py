"""What the bench makes of its rounds: medians, relations, limits, and the table of them."""

import argparse
import json
from pathlib import Path

import pytest

from tests.load.bench.__main__ import PAGE, chosen, joined, rounds, rows_of
from tests.load.bench.row import Relation, Row, Yardstick, at_least, at_most, number
from tests.load.bench.table import END, START, table, write_between_marks

INFINITE = float("inf")


def row(*rounds: float, beside: tuple[float, ...] = (), **fields: object) -> Row:
    yardstick = Yardstick("yardstick", beside) if beside else None
    return Row("a", "figure", "ms", rounds, yardstick, **fields)  # type: ignore[arg-type]


def test_a_figure_is_the_median_of_its_rounds_and_keeps_their_spread() -> None:
    assert row(9.0, 1.0, 2.0).value == 2.0
    assert row(9.0, 1.0, 2.0).spread == (1.0, 9.0)


def test_a_relation_is_the_median_over_neighbours_so_that_drift_of_the_machine_cancels_out() -> None:
    drifting = row(10.0, 20.0, 40.0, beside=(20.0, 40.0, 80.0))
    assert drifting.related == 0.5
    # By the medians alone it would be 20 to 50.
    assert row(10.0, 20.0, 100.0, beside=(10.0, 50.0, 100.0)).related == 1.0
    assert row(10.0, 20.0, 40.0, beside=(8.0, 17.0, 30.0), relation=Relation.EXCESS).related == 3.0


def test_a_limit_is_about_the_relation_where_there_is_a_yardstick_and_about_the_value_where_there_is_none() -> None:
    assert row(90.0, beside=(100.0,), limit=at_least(0.9)).passed
    assert not row(89.0, beside=(100.0,), limit=at_least(0.9)).passed
    assert row(106.0, beside=(100.0,), relation=Relation.EXCESS, limit=at_most(6)).passed
    assert not row(106.1, beside=(100.0,), relation=Relation.EXCESS, limit=at_most(6)).passed
    assert row(250.0, limit=at_most(250)).passed
    assert not row(250.1, limit=at_most(250)).passed
    assert row(1e9).passed


def test_what_could_not_be_measured_keeps_no_limit() -> None:
    nothing = float("nan")
    assert not row(nothing, limit=at_most(1)).passed
    assert not row(nothing, limit=at_least(1)).passed
    assert not row(INFINITE, limit=at_most(1)).passed


def test_a_yardstick_of_nothing_is_infinitely_exceeded() -> None:
    assert row(1.0, beside=(0.0,)).related == INFINITE


def test_a_row_has_rounds_and_its_yardstick_as_many() -> None:
    with pytest.raises(ValueError, match="a: figure has no rounds"):
        row()
    with pytest.raises(ValueError, match="same number of rounds"):
        row(1.0, 2.0, beside=(1.0,))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1500.0, "1,500"),
        (123_456.7, "123,457"),
        (99.96, "100"),
        (123.4, "123"),
        (12.34, "12.3"),
        (2.5, "2.5"),
        (0.123, "0.12"),
        (200.0, "200"),
        (0.0, "0"),
        (INFINITE, "-"),
    ],
)
def test_numbers_show_the_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_the_table_shows_figure_spread_yardstick_relation_limit_and_verdict() -> None:
    lines = table(
        [
            row(8.0, 10.0, 9.0, beside=(10.0, 20.0, 10.0), limit=at_least(0.85)),
            row(16.0, beside=(10.0,), relation=Relation.EXCESS, limit=at_most(6)),
            row(3.0),
        ]
    ).splitlines()[2:]
    assert lines == [
        "| a | figure | 9 ms (8 to 10) | 10 ms: yardstick | 0.8 times | at least 0.85 | **no** |",
        "| a | figure | 16 ms | 10 ms: yardstick | +6.0 | at most 6 | yes |",
        "| a | figure | 3 ms |  |  |  |  |",
    ]


def test_the_file_keeps_every_round() -> None:
    kept = json.loads(json.dumps(row(1.0, 3.0, beside=(2.0, 2.0), limit=at_most(2)).as_json()))
    assert kept["rounds"] == [1.0, 3.0]
    assert kept["yardstick"] == {"name": "yardstick", "rounds": [2.0, 2.0]}
    assert (kept["related"], kept["limit"], kept["passed"]) == (
        1.0,
        {"bound": 2, "at_least": False},
        True,
    )


@pytest.mark.parametrize(
    "kept",
    [
        row(1.0, 3.0, beside=(2.0, 2.0), relation=Relation.EXCESS, limit=at_most(2)),
        row(1.0, 3.0, beside=(2.0, 2.0), limit=at_least(0.85)),
        row(1.0),
    ],
)
def test_a_row_comes_out_of_the_file_as_it_went_in(kept: Row) -> None:
    assert Row.from_json(json.loads(json.dumps(kept.as_json()))) == kept


def test_a_run_of_some_rows_keeps_the_others_of_earlier_runs(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert joined(path, {"j": 1}) == {"j": 1}
    path.write_text(json.dumps({"parts": {"a": {"rows": [row(1.0).as_json()]}, "d": {"rows": []}}}), encoding="utf-8")
    told = joined(path, {"j": {"rows": []}, "d": {"rows": [row(2.0).as_json()]}})
    assert list(told) == ["a", "d", "j"]
    assert [one.value for one in rows_of(told)] == [1.0, 2.0]


def test_a_kept_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    write_between_marks(page, "new")
    write_between_marks(page, "newer")
    assert page.read_text(encoding="utf-8") == f"before\n{START}\n\nnewer\n\n{END}\nafter\n"


@pytest.mark.parametrize("content", ["", START, END, f"{END} {START}"])
def test_a_page_without_its_marks_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table"):
        write_between_marks(page, "new")
    assert page.read_text(encoding="utf-8") == content


def test_the_page_of_benchmarks_has_a_place_for_the_table(tmp_path: Path) -> None:
    copy = tmp_path / "benchmarks.md"
    copy.write_bytes(PAGE.read_bytes())
    write_between_marks(copy, "the table")
    assert "the table" in copy.read_text(encoding="utf-8")


def test_all_rows_but_the_soak_are_measured_unless_some_are_named() -> None:
    assert chosen("") == list("abcdefghi")
    assert chosen("d a,c a") == ["a", "c", "d"]
    assert chosen("j") == ["j"]
    with pytest.raises(argparse.ArgumentTypeError, match="no row is called x; there are a b c"):
        chosen("a x")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_rounds_that_are_no_number_of_rounds_are_refused(text: str) -> None:
    assert rounds("2") == 2
    with pytest.raises(argparse.ArgumentTypeError, match="write 1 or more"):
        rounds(text)
