"""The short form of `make chaos`: every process killed once, some frozen, under load, and the verdict."""

import secrets
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.faults import TARGETS
from tests.chaos.report import show
from tests.chaos.run import Options, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_nothing_is_lost_doubled_or_left_behind_when_every_process_is_killed(tmp_path: Path) -> None:
    """INVARIANT: accepted is durable, effects happen once, deleted is gone, nothing poisons the queue.

    The report names the seed; `python -m tests.chaos --seed` with the same options plans the same again.
    """
    options = Options(
        seed=secrets.randbelow(1_000_000),
        documents=150,
        seconds=35,
        kills=1,
        freezes=1,
        freeze_seconds=5,
        frozen=("parser", "persistence", "nats-server"),
        settle_seconds=90,
    )
    console = Console(width=120)
    outcome = run(options, tmp_path / "data", console.print)
    show(outcome, console)
    assert outcome.findings == []
    assert outcome.problems == []
    assert outcome.queries.broken == []
    assert {recovery.fault.target for recovery in outcome.recoveries} == set(TARGETS)
    assert outcome.queries.total > 100
