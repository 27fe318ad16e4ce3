"""The histories of `tests/unit/convergence` on the tables of real databases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis.stateful import run_state_machine_as_test

from contracts.reads import Usage, UsageQuery
from services.persistence.database import Database
from services.persistence.document import Document
from services.persistence.usage import usage
from tests.integration.persistence_database import KINDS, ask, migrated, settings_of
from tests.unit.convergence.endings import endings
from tests.unit.convergence.ledgers import SQLLedger
from tests.unit.convergence.loop import TENANT, size_of
from tests.unit.convergence.machine import EXAMPLES, WholeLoop, bounded

ON_A_DATABASE: Final = max(1, EXAMPLES // 8)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_ends_with_the_last_write(kind: str, tmp_path: Path) -> None:
    """INVARIANT: the tables keep all that the lifecycle needs; a field that is not stored, or a batch that outlives its
    revision, would break it. What is used of a quota is what is shown in the end, and nothing else: a document that
    failed or was deleted counts no more, and one that came twice counts once.
    """
    with settings_of(kind, tmp_path) as settings, migrated(settings) as database:

        class InTables(WholeLoop):
            def __init__(self) -> None:
                super().__init__(SQLLedger(database))

            def teardown(self) -> None:
                super().teardown()
                check_usage(database, [ending.document for ending in endings(self.loop).values()])

        run_state_machine_as_test(InTables, settings=bounded(ON_A_DATABASE))


def check_usage(database: Database, documents: Sequence[Document]) -> None:
    """Compare the sums with the documents, all of which are through."""
    shown = {document.document_id: size_of(document.visible_revision) for document in documents}
    counted = {name: size_bytes for name, size_bytes in shown.items() if size_bytes}
    found = ask(database, usage, query=UsageQuery(tenant=TENANT, documents=sorted(shown)))
    in_all = Usage(documents=len(counted), size_bytes=sum(counted.values()))
    assert (found.used, found.admitted) == (in_all, in_all)
    assert {one.document_id: one.size_bytes for one in found.of} == counted
    assert {one.document_id: one.admitted_bytes for one in found.of} == counted
