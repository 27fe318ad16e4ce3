from services.parser.formats.tables import Table, sections


def lines(rows: list[list[str]]) -> list[str]:
    return [section.text for section in sections(rows)]


def test_a_row_is_a_line() -> None:
    assert lines([["A", "B"], ["1", ""], ["a\nb", " c  d "], ["", ""]]) == ["A | B\n1 | \na b | c d"]


def test_a_row_of_one_cell_interrupts_the_table() -> None:
    assert lines([["A", "B"], ["1", "2"], ["one\ntwo"], ["3", "4"]]) == ["A | B\n1 | 2", "one", "two", "A | B\n3 | 4"]


def test_a_first_row_with_numbers_is_no_header() -> None:
    assert all(not text.startswith("Sum | 2025") or index == 0 for index, text in enumerate(lines(LONG)))


LONG = [["Sum", "2025"], *([f"row {number}", "x" * 100] for number in range(50))]


def test_a_long_header_is_not_repeated() -> None:
    rows = [["H" * 200, "I" * 200], *([f"row {number}", "x" * 100] for number in range(50))]
    assert [text.startswith("HHH") for text in lines(rows)].count(True) == 1


def test_each_table_has_a_header_of_its_own() -> None:
    table = Table(page=3)
    found = [*table.row(["A", "B"]), *table.end(), *table.row(["C", "D"]), *table.end()]
    assert [(one.text, one.page) for one in found] == [("A | B", 3), ("C | D", 3)]
