"""The table of the bench, printed and kept in a page between two marks."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.load.bench.row import Relation, Row, number

START: Final = "<!-- table of make bench -->"
END: Final = "<!-- end of the table of make bench -->"
HEAD: Final = (
    "| row | figure | median (lowest to highest round) | yardstick of the same run | beside it | limit | kept |",
    "|---|---|---|---|---|---|---|",
)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    return "\n".join([*HEAD, *map(_line, rows)])


def write_between_marks(page: Path, text: str, start: str = START, end: str = END) -> None:
    """Replace what stands between the marks of a page; ValueError when it has not both, in order."""
    content = page.read_text(encoding="utf-8")
    before, begun, rest = content.partition(start)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise ValueError(f"{page} has no place for the table: put {start!r} and {end!r} into it")
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _line(row: Row) -> str:
    lowest, highest = row.spread
    spread = f" ({number(lowest)} to {number(highest)})" if len(row.rounds) > 1 else ""
    cells = [
        row.letter,
        row.figure,
        f"{number(row.value)} {row.unit}".rstrip() + spread,
        *_beside(row),
        str(row.limit or ""),
        "" if row.limit is None else "yes" if row.passed else "**no**",
    ]
    return f"| {' | '.join(cells)} |"


def _beside(row: Row) -> tuple[str, str]:
    if row.yardstick is None or row.related is None:
        return "", ""
    middle = number(statistics.median(row.yardstick.rounds))
    related = f"{row.related:+.1f}" if row.relation is Relation.EXCESS else f"{number(row.related)} times"
    return f"{middle} {row.unit}: {row.yardstick.name}", related
