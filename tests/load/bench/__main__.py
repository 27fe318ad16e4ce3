"""One table of what the platform does, each figure beside its limit or its yardstick from the same run.

    python -m tests.load.bench [--rows "a c d"] [--short] [--rounds N] [--data DIR] [--keep]

Without `--rows` all but the soak (j). Prints the table and writes the figures to `.bench/bench.json`; with `--keep` to
`docs/benchmarks/bench.json` and the table into `docs/benchmarks.md`, beside the rows that earlier runs kept. Exit code
1 when a limit is missed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.load.bench import (
    accept,
    cached,
    first_delta,
    growth,
    ingest,
    mixed,
    scale_out,
    search,
    searchable,
    soak,
)
from tests.load.bench.row import Row
from tests.load.bench.stand import FULL, SHORT, Sizes, Stand
from tests.load.bench.table import table, write_between_marks
from tests.load.bench.versions import versions
from tests.load.machine import describe_machine
from tests.platform_process import PROJECT

PARTS: Final = {
    part.LETTER: part
    for part in (search, ingest, mixed, accept, cached, first_delta, scale_out, growth, searchable, soak)
}
SOAK: Final = "j"
KEPT: Final = PROJECT / "docs" / "benchmarks" / "bench.json"
PAGE: Final = PROJECT / "docs" / "benchmarks.md"


def chosen(letters: str) -> list[str]:
    """Return the letters of the rows that are asked for, in order; all but the soak when none is."""
    asked = letters.replace(",", " ").split() or [letter for letter in PARTS if letter != SOAK]
    unknown = sorted(set(asked) - PARTS.keys())
    if unknown:
        raise argparse.ArgumentTypeError(f"no row is called {', '.join(unknown)}; there are {' '.join(PARTS)}")
    return sorted(set(asked))


def rounds(text: str) -> int:
    """Return how often each figure is asked for; less than once is refused."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds; write 1 or more")
    return int(text)


def sizes_of(given: argparse.Namespace) -> Sizes:
    """Return how much is measured."""
    sizes = SHORT if given.short else FULL
    return replace(sizes, rounds=given.rounds) if given.rounds else sizes


def measured(letters: Sequence[str], given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return for each part what the JSON file holds of it."""
    parts: dict[str, dict[str, Any]] = {}
    for letter in letters:
        before, started = describe_machine(), time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"rag-bench-{letter}-") as folder:
            stand = Stand(sizes_of(given), Path(folder), given.seed, given.data)
            stand.say(f"{letter}: {PARTS[letter].TITLE}")
            rows = PARTS[letter].measure(stand)
        parts[letter] = {
            "title": PARTS[letter].TITLE,
            "machine": before,
            "load_average_at_the_end": describe_machine()["load_average"],
            "versions": versions(),
            "seed": given.seed,
            "data": given.data.name if given.data else "made documents",
            "short": given.short,
            "seconds": round(time.monotonic() - started, 1),
            "rows": [row.as_json() for row in rows],
        }
    return parts


def joined(path: Path, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts beside those that a file has of earlier runs; the newer takes the place of the older."""
    kept = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.is_file() else {}
    return dict(sorted({**kept, **parts}.items()))


def rows_of(parts: Mapping[str, Any]) -> list[Row]:
    """Return the rows of parts as the JSON file holds them."""
    return [Row.from_json(row) for part in parts.values() for row in part["rows"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say whether every limit is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], prog="bench")
    parser.add_argument("--rows", type=chosen, default=chosen(""), help='letters such as "a c d"; none = all but j')
    parser.add_argument("--short", action="store_true", help="a smoke of some minutes, whose figures say little")
    parser.add_argument("--rounds", type=rounds, help="how often each figure is measured (3, --short: 1)")
    parser.add_argument("--data", type=Path, help="folder of SciFact for rows a to c; none = made documents")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", action="store_true", help="keep figures and table under docs/")
    given = parser.parse_args(arguments)
    parts = measured(given.rows, given)
    path = KEPT if given.keep else PROJECT / ".bench" / "bench.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = joined(path, parts) if given.keep else parts
    path.write_text(json.dumps({"parts": told}, indent=1) + "\n", encoding="utf-8")
    if given.keep:
        write_between_marks(PAGE, table(rows_of(told)))
    rows = rows_of(parts)
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
