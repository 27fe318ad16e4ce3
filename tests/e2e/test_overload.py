"""A producer that publishes as fast as it can, beside interactive search, on the whole platform."""

import pytest

from tests.load.overload import measure
from tests.load.overload_report import rows, table

# Shared machines are noisy and these windows short: ratios of latencies and rates are for `make bench-overload`.
TIMED = ("p99 ", "ingestion with search")


@pytest.mark.extended
@pytest.mark.timeout(600)
def test_a_flood_of_documents_kills_nothing_loses_nothing_and_search_goes_on() -> None:
    """INVARIANT: accepted is durable, interactive before bulk. What is acknowledged in a flood is accounted for.

    No process may die or grow without a bound, no document may fail, and no search may be refused.
    """
    found = rows(measure(5_000, 10.0, whole=True))
    broken = [row for row in found if not row.kept and not row.figure.startswith(TIMED)]
    assert broken == [], table(found)
