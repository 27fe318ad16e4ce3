"""The histories of `tests/unit/convergence` on the tables of real databases."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.persistence_database import KINDS, migrated, settings_of
from tests.unit.convergence.ledgers import SQLLedger
from tests.unit.convergence.machine import EXAMPLES, WholeLoop, bounded

ON_A_DATABASE: Final = max(1, EXAMPLES // 8)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_ends_with_the_last_write(kind: str, tmp_path: Path) -> None:
    """INVARIANT: the tables keep all that the lifecycle needs; a field that is not stored, or a batch that outlives its
    revision, would break it.
    """
    with settings_of(kind, tmp_path) as settings, migrated(settings) as database:

        class InTables(WholeLoop):
            def __init__(self) -> None:
                super().__init__(SQLLedger(database))

        run_state_machine_as_test(InTables, settings=bounded(ON_A_DATABASE))
