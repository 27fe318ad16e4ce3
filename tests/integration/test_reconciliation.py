"""Persistence and retriever on a real broker, with a database and an index that somebody meddled with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts import subjects
from contracts.facts import DocumentFailed
from contracts.reconciliation import FencesRequest, IndexFence, ReconcileReply, ReconcileRequest
from services.persistence.app import build_lifespan as persistence_lifespan
from services.persistence.collection_deletes import remember_delete, save_sweep, unfinished
from services.persistence.events import CollectionDeleted
from services.persistence.settings import PersistenceSettings
from services.retriever.app import build_lifespan as retriever_lifespan
from services.retriever.index import VectorIndex
from services.retriever.qdrant_edge_index import QdrantEdgeIndex
from services.retriever.settings import RetrieverSettings
from shared import models
from tests.contract.vector_indexes import points, vector
from tests.integration.persistence_database import happen, indexed, migrated
from tests.integration.persistence_service import TENANT, Stand
from tests.running import client_of, eventually, running_service
from tests.servers import NatsServer
from tests.unit.persistence.histories import AT, About

SEEN = 60
CHUNKS = 10
VECTOR = vector().repeat(24)
Meddle = Callable[[VectorIndex], Awaitable[None]]


@dataclass
class Comparing(Stand):
    """The two services, and what they say of one another."""

    async def compare(self) -> ReconcileReply:
        """Return what all steps found together."""
        replies = [await self._step(None)]
        while replies[-1].cursor is not None:
            replies.append(await self._step(replies[-1].cursor))
        counts = {kind: outcomes for reply in replies for kind, outcomes in reply.counts.items()}
        findings = [finding for reply in replies for finding in reply.findings]
        return ReconcileReply(
            documents=sum(reply.documents for reply in replies),
            points=sum(reply.points for reply in replies),
            counts=counts,
            findings=findings,
        )

    async def _step(self, cursor: str | None) -> ReconcileReply:
        return await self.service.requester.ask(subjects.RECONCILE, ReconcileRequest(cursor=cursor), ReconcileReply)

    async def details(self, service: str, check: str) -> dict[str, object]:
        report = await self.service.health.report()
        found: dict[str, object] = report.details[check]
        return found


@pytest.fixture
def settings(nats_broker: NatsServer, tmp_path: Path) -> PersistenceSettings:
    try:
        models.locate(models.RERANK_MODEL, RetrieverSettings().models_dir)
    except models.ModelError as error:
        pytest.skip(str(error))
    return PersistenceSettings(
        nats_url=nats_broker.url, data_dir=tmp_path, drain_seconds=5, persistence_reconcile_settle_seconds=5
    )


@asynccontextmanager
async def comparing(settings: PersistenceSettings, meddle: Meddle) -> AsyncIterator[Comparing]:
    """Change the index behind everybody's back, then run both services."""
    fingerprint = models.fingerprint(models.EMBEDDING_MODEL)
    index = await QdrantEdgeIndex.open(settings.data_dir / "index", dimension=384, fingerprint=fingerprint)
    await meddle(index)
    await index.close()
    retrieving = RetrieverSettings(nats_url=settings.nats_url, drain_seconds=5, data_dir=settings.data_dir)
    async with (
        running_service("retriever", retrieving, retriever_lifespan(retrieving)),
        running_service("persistence", settings, persistence_lifespan(settings)) as service,
        client_of(settings.nats_url) as client,
    ):
        stand = Comparing(service, client)
        for _ in range(SEEN):
            await stand.ingest_bytes(b"{}")
        await stand.worked_off()
        yield stand


async def store(index: VectorIndex, document_id: str, revision: int, number: int = CHUNKS) -> None:
    await index.upsert(points(document_id, revision, number, tenant=TENANT, vector=VECTOR))


async def show(index: VectorIndex, document_id: str, revision: int, number: int = CHUNKS) -> None:
    """Store a revision as after its indexing."""
    await store(index, document_id, revision, number)
    await index.raise_fence(TENANT, document_id, visible=revision)


async def test_differences_in_both_directions_are_found_and_repaired(settings: PersistenceSettings) -> None:
    """INVARIANT: nothing is left behind; the second comparison finds nothing."""
    with migrated(settings) as database:
        for name, revision in (("whole", 3), ("half", 5), ("lost", 7), ("unfenced", 9), ("updated", 11)):
            happen(database, *indexed(name, revision))
        happen(database, *indexed("gone", 13), About(14, "gone").delete())

    async def meddle(index: VectorIndex) -> None:
        await show(index, "whole", 3)
        await show(index, "half", 5, 4)
        await index.raise_fence(TENANT, "lost", visible=7)
        await store(index, "unfenced", 9)
        await show(index, "updated", 11)
        await store(index, "updated", 10)
        await store(index, "gone", 13, 2)
        await store(index, "nobody", 12, 3)
        await store(index, "to come", SEEN + 100, 3)

    async with comparing(settings, meddle) as stand:
        found = await stand.compare()
        assert found.counts == {
            "orphan": {"repaired": 3},
            "lost": {"send_again": 2},
            "fence": {"repaired": 2},
        }
        assert {(each.document_id, each.expected, each.found) for each in found.findings if each.kind == "lost"} == {
            ("half", 10, 4),
            ("lost", 10, 0),
        }
        assert (await stand.compare()).counts == {}
        assert (await stand.document("half"))["error"]["code"] == "index_incomplete"
        assert (await stand.document("lost"))["chunks"] == {"total": 10, "indexed": 0}
        assert (await stand.document("whole"))["status"] == "indexed"
        failed = await stand.facts(DocumentFailed, subjects.DOCUMENT_FAILED)
        assert {(fact.document_id, fact.code) for fact in failed} == {
            ("half", "index_incomplete"),
            ("lost", "index_incomplete"),
        }


async def test_a_collection_whose_fence_is_missing_is_hidden_again(settings: PersistenceSettings) -> None:
    with migrated(settings) as database, database.writes.begin() as connection:
        remember_delete(connection, CollectionDeleted(tenant=TENANT, collection="manuals", revision=20, at=AT))
        [sweep] = unfinished(connection, 5)
        save_sweep(connection, sweep, [], done=True)

    async def meddle(index: VectorIndex) -> None:
        return None

    async with comparing(settings, meddle) as stand:
        found = await stand.compare()
        assert [(each.kind, each.collection, each.outcome, each.expected) for each in found.findings] == [
            ("fence", "manuals", "repaired", 20)
        ]
        assert (await stand.compare()).counts == {}
        wanted = FencesRequest(fences=[IndexFence(tenant=TENANT, collection="manuals", floor=20)], look=True)
        reply = await stand.client.request(subjects.INDEX_FENCES, wanted.model_dump_json().encode(), timeout=5)
        assert reply.data == b'{"behind":[]}'


async def test_more_documents_than_a_page_holds_are_compared(
    settings: PersistenceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.persistence.reconciliation.PAGE_DOCUMENTS", 4)
    monkeypatch.setattr("services.persistence.reconciliation.MAX_REVISIONS_PER_PAGE", 35)
    with migrated(settings) as database:
        for revision in range(1, 31):
            happen(database, *indexed(f"d{revision}", revision))
        for revision in range(31, 41):
            happen(database, *indexed(f"d{revision}", revision), About(revision + 10, f"d{revision}").delete())

    async def meddle(index: VectorIndex) -> None:
        for revision in range(1, 31):
            if revision % 10:
                await show(index, f"d{revision}", revision)
        for revision in range(31, 41):
            if revision % 5:
                await index.raise_fence(TENANT, f"d{revision}", floor=revision + 10)

    async with comparing(settings, meddle) as stand:
        found = await stand.compare()
        lost = {each.document_id for each in found.findings if each.kind == "lost"}
        fences = {each.document_id for each in found.findings if each.kind == "fence"}
        assert lost == {"d10", "d20", "d30"}
        assert fences == lost | {"d35", "d40"}
        assert (found.documents, found.points) == (40, 270)


async def test_it_runs_by_itself_and_says_when_it_did(settings: PersistenceSettings) -> None:
    often = settings.model_copy(update={"persistence_reconcile_interval_seconds": 0.05})

    async def meddle(index: VectorIndex) -> None:
        await store(index, "nobody", 12, 3)

    async with comparing(often, meddle) as stand:

        async def repaired() -> bool:
            details = await stand.details("persistence", "reconciliation")
            return details.get("last_pass") is not None and details.get("differences") == {}

        async def empty() -> bool:
            return (await stand.details("persistence", "database"))["chunks"] == 0

        await eventually(repaired, "a later pass finds nothing")
        assert await empty()
