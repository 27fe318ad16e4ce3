import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.parser.document import Source
from services.parser.formats.csv_table import extract


def lines(text: str, media_type: str = "text/csv") -> list[str]:
    blocks = extract(Source(text.encode(), media_type, "utf-8")).blocks
    return [line for block in blocks for line in block.text.split("\n") if line]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("media_type", ["text/csv", "text/tab-separated-values"])
def test_every_row_says_its_column_names(delimiter: str, media_type: str) -> None:
    table = "Team,Place,Cups\nBlues,STL,1\nFlyers,PHI,2\n".replace(",", delimiter)
    assert lines(table, media_type) == ["Team: Blues | Place: STL | Cups: 1", "Team: Flyers | Place: PHI | Cups: 2"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", ["a: 1,5 | b: 2,5", "a: 3,5 | b: 4,5"]),
        ('a,b\n"x, y","say ""hi"""\n', ['a: x, y | b: say "hi"']),
        ('a,b\n"x\ny",2\n', ["a: x y | b: 2"]),
        ("a,b\n1\n1,2,3\n,,\n\n", ["a: 1", "a: 1 | b: 2 | 3"]),
        ("1,2\n3,4\n", ["1 | 2", "3 | 4"]),
        ("x,x\na,b\n", ["x | x", "a | b"]),
        ("Land,2019,2020\nA,1,2\n", ["Land: A | 2019: 1 | 2020: 2"]),
        ("name\nAnn\nBob\n", ["name: Ann", "name: Bob"]),
        ("sep=|\na|b\n1|2\n", ["a: 1 | b: 2"]),
        ("only,names\n", ["only | names"]),
        ("a,b\r1,2\r", ["a: 1 | b: 2"]),
        ("", []),
    ],
)
def test_tables_are_read_however_they_are_written(table: str, expected: list[str]) -> None:
    assert lines(table) == expected


def test_what_stands_above_the_header_is_a_title() -> None:
    source = Source(b"Stanley Cups,,\nTeam,Place,Cups\nBlues,STL,1\n", "text/csv", "utf-8")
    extracted = extract(source)
    assert extracted.title == "Stanley Cups"
    assert [block.text for block in extracted.blocks] == ["Stanley Cups", "Team: Blues | Place: STL | Cups: 1"]


def test_a_quote_that_is_never_closed_costs_one_row() -> None:
    found = lines('a,b\n1,"open\n' + "x,y\n" * 2_000)
    assert len(found) == 2_001
    assert set(found[1:]) == {"a: x | b: y"}


def test_a_cell_of_any_length_is_read() -> None:
    assert len(lines("a,b\n" + "x" * 3_000_000 + ",2\n")[0]) > 3_000_000


@pytest.mark.parametrize("codec", ["utf-16", "cp1252", "utf-8-sig"])
def test_tables_come_in_any_encoding(codec: str) -> None:
    source = Source("name,drink\nAnn,café\n".encode(codec), "text/csv", codec)
    assert [block.text for block in extract(source).blocks] == ["name: Ann | drink: café"]


def test_rows_are_grouped_into_sections_of_a_size() -> None:
    blocks = list(extract(Source(b"a,b\n" + b"111,222\n" * 1_000, "text/csv", "utf-8")).blocks)
    assert len(blocks) > 5
    assert max(len(block.text) for block in blocks) < 2_000


@given(st.text(st.sampled_from("a1,;\"'\n\t| "), max_size=100))
def test_no_table_fails(table: str) -> None:
    assert all(isinstance(line, str) for line in lines(table))
