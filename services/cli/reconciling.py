"""`rag doctor --reconcile`: every step of comparing database and index, and a table of what was found."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from rich.table import Table

from contracts.reconciliation import RECONCILE_STEP_SECONDS
from services.cli.client import Gateway, GatewayUnreachable, Problem
from services.cli.errors import EXIT_FAILURE
from services.cli.terminal import one_line, print_json, show

PATH: Final = "/v1/admin/reconcile"
STALL_SECONDS: Final = 120.0
RETRY_PAUSE_SECONDS: Final = 1.0
MAX_SHOWN: Final = 50
REPAIRED: Final = "repaired"
OUTCOMES: Final = (REPAIRED, "send_again", "open", "in_flight")
MEANINGS: Final = {
    "orphan": "points of a revision that is outdated, deleted or unknown",
    "lost": "documents of which points are missing in the index",
    "surplus": "documents with more points than the database knows",
    "fence": "fences below what the database says",
    "unfinished": "documents that wait for a message that is in no queue any more",
}
ADVICE: Final = {
    "send_again": "Documents are marked as failed (index_incomplete, message_lost), because nothing stored can make"
    " them whole: send them again. `rag documents --status failed` lists them.",
    "open": "Documents have more points than the database knows, which nothing repairs: send them again.",
    "in_flight": "Work was still on its way; run this again when `rag status` shows that nothing waits.",
}


@dataclass(slots=True)
class Comparison:
    """What all steps saw together; of the differences the first ones."""

    documents: int = 0
    points: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def add(self, reply: dict[str, Any]) -> None:
        """Add one step."""
        self.documents += reply["documents"]
        self.points += reply["points"]
        for kind, outcomes in reply["counts"].items():
            self.counts.setdefault(kind, Counter()).update(outcomes)
        self.findings += reply["findings"][: MAX_SHOWN - len(self.findings)]

    def number_of(self, outcome: str) -> int:
        """Return how many differences ended so."""
        return sum(counts[outcome] for counts in self.counts.values())

    @property
    def repaired(self) -> bool:
        """Tell whether nothing is left that a person has to look at."""
        return all(not self.number_of(outcome) for outcome in OUTCOMES if outcome != REPAIRED)


def reconcile_all(url: str, *, as_json: bool) -> int:
    """Do every step and print what was found; returns the exit code, 1 when something could not be repaired."""
    found = asyncio.run(_compare(url))
    if as_json:
        print_json(
            {
                "repaired": found.repaired,
                "documents": found.documents,
                "points": found.points,
                "counts": found.counts,
                "findings": found.findings,
            }
        )
    else:
        _print(found)
    return 0 if found.repaired else EXIT_FAILURE


async def _compare(url: str) -> Comparison:
    found = Comparison()
    async with Gateway(url, timeout_seconds=RECONCILE_STEP_SECONDS + 10) as gateway:
        await gateway.get("/live")
        cursor: str | None = None
        while True:
            reply = await _step(gateway, cursor)
            found.add(reply)
            cursor = reply["cursor"]
            if cursor is None:
                return found


async def _step(gateway: Gateway, cursor: str | None) -> dict[str, Any]:
    """Return the reply; steps may be repeated, so what fails for a while is simply tried again."""
    until = time.monotonic() + STALL_SECONDS
    while True:
        try:
            reply: dict[str, Any] = await gateway.post(PATH, {"cursor": cursor})
            return reply
        except (GatewayUnreachable, Problem) as error:
            if time.monotonic() > until or (isinstance(error, Problem) and not error.temporary):
                raise
        await asyncio.sleep(RETRY_PAUSE_SECONDS)


def _print(found: Comparison) -> None:
    show(f"Compared {found.documents} documents and {found.points} points.")
    if not found.counts:
        show("Database and index agree.")
        return
    show(_table(found))
    for finding in found.findings:
        show(_line(finding), soft_wrap=True)
    for outcome, advice in ADVICE.items():
        if found.number_of(outcome):
            show(advice, soft_wrap=True)


def _table(found: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("found")
    for outcome in OUTCOMES:
        table.add_column(outcome.replace("_", " "), justify="right")
    table.add_column("what")
    for kind, counts in found.counts.items():
        table.add_row(one_line(kind), *(str(counts[outcome]) for outcome in OUTCOMES), MEANINGS.get(kind, ""))
    return table


def _line(finding: dict[str, Any]) -> str:
    of = f"collection {finding['collection']}" if finding.get("collection") else f"document {finding['document_id']}"
    return one_line(
        f"{finding['kind']} ({finding['outcome'].replace('_', ' ')}): {of} of tenant {finding['tenant']}, revision"
        f" {finding['revision']}: {finding['expected']} expected, {finding['found']} found"
    )
