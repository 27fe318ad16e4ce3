"""The short form of `make chaos`: every process killed once, some frozen, under load, and the verdict."""

import random
import secrets
from pathlib import Path

import pytest
from rich.console import Console

from contracts.topology import INTAKE
from tests.chaos.faults import TARGETS
from tests.chaos.report import show
from tests.chaos.run import Options, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def short_freezes(seed: int) -> dict[str, float]:
    """Freeze three for a moment, and one of the workers until what it holds is delivered again beside it."""
    long = random.Random(seed).choice(["parser", "embedder", "retriever", "persistence"])
    return {"gateway": 4.0, "agent": 4.0, "nats-server": 4.0, long: INTAKE.ack_wait_seconds + 2}


def test_nothing_is_lost_doubled_or_left_behind_when_every_process_is_killed(tmp_path: Path) -> None:
    """INVARIANT: accepted is durable, effects happen once, deleted is gone, nothing poisons the queue.

    The report names the seed; `python -m tests.chaos --seed` with the same options plans the same again.
    """
    seed = secrets.randbelow(1_000_000)
    options = Options(
        seed=seed,
        documents=150,
        seconds=40,
        kills=1,
        freezes=1,
        freeze_seconds=short_freezes(seed),
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
