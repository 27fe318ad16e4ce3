"""Writes, deliveries, deaths and repetitions in any order: Hypothesis chooses them, and makes small what fails."""

import os
from random import Random
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.unit.convergence.endings import check_endings, endings
from tests.unit.convergence.ledgers import Ledger
from tests.unit.convergence.loop import UNREADABLE, Loop

# `make test-convergence` tries many more.
EXAMPLES: Final = int(os.environ.get("RAG_TEST_EXAMPLES", "400"))
STEPS: Final = 40
DOCUMENTS: Final = st.sampled_from(["d1", "d2"])
WRITES: Final = st.sampled_from(
    [
        {"text": "1"},
        {"text": "2"},
        {"text": "3"},
        {"text": "1", "collection": "other"},
        {"op": "delete"},
        {"text": UNREADABLE},
        {"text": "1", "metadata": {"a": {}}},
    ]
)
PICKS: Final = st.integers(0, 2**10)
# Up to how many side effects happen before it stops; no handler has twenty.
GAPS: Final = st.sampled_from([1, 2, 3, 4, 5, 6, 20, 20])
DIES: Final = st.booleans()


def bounded(examples: int) -> settings:
    """Return settings for so many histories."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class WholeLoop(RuleBasedStateMachine):
    """One history; when it is over, everything is done and the endings are checked, twice.

    In calm ones nothing dies and nothing comes twice, so that the index must be exact even where a write failed.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.loop = Loop(ledger)
        self.order, self.calm, self.length_of_storm = Random(0), False, 0

    @initialize(seed=st.integers(0, 2**16), calm=st.booleans(), storm=st.sampled_from([0, 50, 200]))
    def choose_the_weather(self, seed: int, calm: bool, storm: int) -> None:
        self.order, self.calm, self.length_of_storm = Random(seed), calm, 0 if calm else storm

    @rule(document=DOCUMENTS, write=WRITES)
    def write(self, document: str, write: dict[str, Any]) -> None:
        self.loop.ingest({"id": document, **write})

    @precondition(lambda self: self.loop.streams.waiting)
    @rule(pick=PICKS, gaps=GAPS, dies=DIES)
    def deliver(self, pick: int, gaps: int, dies: bool) -> None:
        self.loop.deliver(pick, gaps, dies and not self.calm)

    @precondition(lambda self: self.loop.streams.waiting)
    @rule(pick=PICKS, gaps=GAPS)
    def begin(self, pick: int, gaps: int) -> None:
        self.loop.deliver(pick, gaps, dies=False)

    @precondition(lambda self: self.loop.streams.waiting)
    @rule(picks=st.lists(PICKS, min_size=1, max_size=6))
    def work_off(self, picks: list[int]) -> None:
        for pick in picks:
            if self.loop.streams.waiting:
                self.loop.deliver(pick, 20, dies=False)

    @precondition(lambda self: self.loop.running)
    @rule(pick=PICKS, gaps=GAPS, dies=DIES)
    def go_on(self, pick: int, gaps: int, dies: bool) -> None:
        self.loop.go_on(pick, gaps, dies and not self.calm)

    @precondition(lambda self: self.loop.running and not self.calm)
    @rule(pick=PICKS)
    def kill(self, pick: int) -> None:
        self.loop.kill(pick)

    @precondition(lambda self: self.loop.acknowledged and not self.calm)
    @rule(pick=PICKS)
    def redeliver(self, pick: int) -> None:
        self.loop.redeliver(pick)

    @rule()
    def let_the_dedupe_window_pass(self) -> None:
        self.loop.streams.forget_ids()

    @precondition(lambda self: self.loop.batches)
    @rule(pick=PICKS)
    def bury(self, pick: int) -> None:
        self.loop.bury(pick)

    @precondition(lambda self: self.loop.buried)
    @rule(pick=PICKS)
    def replay(self, pick: int) -> None:
        self.loop.replay(pick)

    @rule(gaps=st.sampled_from([2, 3, 4, 20, 20]))
    def search(self, gaps: int) -> None:
        self.loop.search(gaps)

    def teardown(self) -> None:
        self.loop.storm(self.order, self.length_of_storm)
        self.finish()
        check_endings(self.loop)
        before = endings(self.loop)
        self.loop.repeat_everything()
        self.finish()
        check_endings(self.loop)
        after = endings(self.loop)
        # What failed may have come to a better end: its dead batches were made again.
        assert all(after[name] == ending for name, ending in before.items() if ending.document.status != "failed")

    def finish(self) -> None:
        self.loop.settle(self.order)
        self.loop.search(1)
        self.loop.settle(self.order)
