import pytest

from services.parser.formats.cell_values import NumberKind, kind_of_format, number_text


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("General", "general"),
        ("0.00", "general"),
        ("0.00E+00", "general"),
        ('#,##0 "days"', "general"),
        ("[Red]-0", "general"),
        (r"0\d", "general"),
        ("yyyy-mm-dd", "date"),
        ("mmm", "date"),
        ("[$-407]d. mmmm yyyy;@", "date"),
        ("h:mm AM/PM", "time"),
        ("mm:ss", "time"),
        ("d/m/yy h:mm", "date and time"),
        ("[h]:mm:ss", "duration"),
        ("0.0%", "percent"),
        ("00000", "padded"),
    ],
)
def test_a_format_tells_what_its_number_is(code: str, expected: NumberKind) -> None:
    assert kind_of_format(164, code) == expected


@pytest.mark.parametrize(("number", "expected"), [(0, "general"), (14, "date"), (22, "date and time"), (10, "percent")])
def test_built_in_formats_have_no_code(number: int, expected: NumberKind) -> None:
    assert kind_of_format(number, None) == expected


@pytest.mark.parametrize(
    ("raw", "kind", "expected"),
    [
        ("1", "date", "1900-01-01"),
        ("59", "date", "1900-02-28"),
        ("61", "date", "1900-03-01"),
        ("45351.999994", "date and time", "2024-02-29 23:59:59"),
        ("0.75", "time", "18:00:00"),
        ("1.5", "duration", "36:00:00"),
        ("-1e300", "date", "-1e300"),
        ("nan", "date", "nan"),
        ("inf", "general", "inf"),
        ("0.30000000000000004", "general", "0.3"),
        ("12345678901234567890", "general", "12345678901234567890"),
        ("5.0", "general", "5"),
        ("1e-7", "general", "1e-07"),
        ("0.155", "percent", "15.5%"),
        ("", "general", ""),
    ],
)
def test_numbers_read_as_they_are_shown(raw: str, kind: NumberKind, expected: str) -> None:
    assert number_text(raw, kind) == expected


def test_macintosh_workbooks_count_from_1904() -> None:
    assert number_text("0", "date", since_1904=True) == "1904-01-01"
