"""Whatever comes in between: state, index and facts end with the last write, and no search shows anything else."""

from hypothesis.stateful import run_state_machine_as_test

from tests.unit.convergence.ledgers import MemoryLedger
from tests.unit.convergence.machine import EXAMPLES, WholeLoop, bounded


class InMemory(WholeLoop):
    """A history over documents in memory."""

    def __init__(self) -> None:
        super().__init__(MemoryLedger())


def test_everything_ends_with_the_last_write() -> None:
    """INVARIANT: effects happen once, the later write wins, deleted is gone, and no search mixes two revisions.

    Each of these was broken by hand and found; it would break if
    - a message of an earlier revision than the present one were not ignored (`lifecycle._on_message`);
    - an outcome were announced only when the state changes, so that a death between commit and publish silences it
      (`lifecycle._on_report`);
    - a delete that a later write outran left visible what came before it (`lifecycle._outrun`).
    """
    run_state_machine_as_test(InMemory, settings=bounded(EXAMPLES))
