"""What the keeper of the database may ask of the indexes, with one model and with two, on every store."""

from collections.abc import AsyncIterator

import pytest

from contracts.reconciliation import FencesRequest, IndexFence, RemoveRequest, RevisionsRequest, StoredRevision
from services.retriever.auditing import Auditing
from services.retriever.epochs import OwnEpochs
from services.retriever.generations import Generations
from services.retriever.index import Fence, collection_fence
from tests.contract.catalogues import NEW, OLD, STORES, embedded, stores
from tests.contract.vector_indexes import points

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture(params=STORES)
async def generations(request: pytest.FixtureRequest) -> AsyncIterator[Generations]:
    async with stores(request.param) as open_store:
        yield await open_store(OLD, NEW)


async def fill(generations: Generations, document_id: str, revision: int, number: int, tenant: str = "acme") -> None:
    """Store the same points in both indexes, with the vectors of each model."""
    for generation in generations.opened:
        vector = embedded(generation.model, document_id)
        await generation.index.upsert(points(document_id, revision, number, tenant=tenant, vector=vector))


async def test_revisions_of_all_tenants_are_listed_in_pages(generations: Generations) -> None:
    await fill(generations, "a", 3, 2)
    await fill(generations, "b", 5, 4, tenant="other")
    auditing = Auditing(generations, OwnEpochs(generations))

    first = await auditing.revisions(RevisionsRequest(limit=3))
    second = await auditing.revisions(RevisionsRequest(after=first.next_after or 0, limit=10))

    assert first.entries == [StoredRevision(tenant="acme", document_id="a", revision=3, points=2)]
    assert second.entries == [StoredRevision(tenant="other", document_id="b", revision=5, points=4)]
    assert second.next_after is None


async def test_a_removal_reaches_every_open_index(generations: Generations) -> None:
    """INVARIANT: nothing comes back with the next model; a removal from the present index alone would be undone."""
    await fill(generations, "a", 3, 2)
    await fill(generations, "a", 4, 1)
    gone = StoredRevision(tenant="acme", document_id="a", revision=3)

    await Auditing(generations, OwnEpochs(generations)).remove(RemoveRequest(revisions=[gone]))

    for generation in generations.opened:
        assert [entry.revision for entry in (await generation.index.document_revisions()).entries] == [4]


async def test_fences_are_looked_at_without_being_lifted(generations: Generations) -> None:
    for generation in generations.opened:
        await generation.index.raise_fence("acme", "a", visible=4)
    wanted = [
        IndexFence(tenant="acme", document_id="a", visible=4),
        IndexFence(tenant="acme", document_id="b", floor=2),
    ]

    told = await Auditing(generations, OwnEpochs(generations)).fences(FencesRequest(fences=wanted, look=True))

    assert told.behind == [IndexFence(tenant="acme", document_id="b")]
    assert await generations.active.index.fences("acme", {"b"}) == {}


async def test_fences_that_one_index_lacks_are_lifted_there(generations: Generations) -> None:
    old, new = (generation.index for generation in generations.opened)
    await old.raise_fence("acme", "a", visible=7, floor=3)
    await new.raise_fence("acme", "a", visible=7)
    wanted = [
        IndexFence(tenant="acme", document_id="a", visible=5, floor=3),
        IndexFence(tenant="acme", collection="manuals", floor=9),
    ]

    told = await Auditing(generations, OwnEpochs(generations)).fences(FencesRequest(fences=wanted))
    again = await Auditing(generations, OwnEpochs(generations)).fences(FencesRequest(fences=wanted, look=True))

    assert {(each.document_id, each.collection, each.visible, each.floor) for each in told.behind} == {
        ("a", None, 7, 0),
        (None, "manuals", 0, 0),
    }
    assert again.behind == []
    name = collection_fence("manuals")
    for index in (old, new):
        assert await index.fences("acme", {"a", name}) == {
            "a": Fence("acme", "a", 7, 3),
            name: Fence("acme", name, 0, 9),
        }
