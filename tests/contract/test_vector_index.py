"""What every adapter of the vector index stores, finds and counts."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.retriever.filters import parse_filter
from services.retriever.fusion import fuse
from services.retriever.index import (
    DocumentRevision,
    IndexUnavailable,
    InvalidPoint,
    ModelMismatch,
    SearchMode,
    SparseVector,
    VectorIndex,
)
from tests.contract.vector_indexes import (
    DIMENSION,
    INDEXES,
    MODEL,
    documents,
    opened,
    point,
    points,
    query,
    revisions,
    vector,
)

# The client's local mode says at every payload index that it has none.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture(params=INDEXES)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    async with opened(request.param) as open_index:
        yield await open_index()


async def test_a_hit_carries_all_that_was_stored(index: VectorIndex) -> None:
    stored = point(
        "handbook",
        revision=7,
        ordinal=3,
        title="Handbook",
        uri="https://example.org/h",
        metadata={"team": "infra", "year": 2026, "score": 1.5, "public": True, "tags": ["a", "b"]},
        page=4,
        heading_path=("One", "Two"),
        char_start=100,
        char_end=200,
    )
    await index.upsert([stored])

    [hit] = await index.search(query(vector=stored.vector))

    assert hit.score == pytest.approx(1, abs=1e-5)
    assert hit.similarity == pytest.approx(1, abs=1e-5)
    for name in ("tenant", "collection", "document_id", "revision", "ordinal", "chunk_id", "text", "title", "uri"):
        assert getattr(hit, name) == getattr(stored, name)
    for name in ("metadata", "page", "heading_path", "char_start", "char_end"):
        assert getattr(hit, name) == getattr(stored, name)


async def test_a_batch_that_arrives_twice_is_stored_once(index: VectorIndex) -> None:
    """INVARIANT: effects happen once; random point ids would double every redelivered batch."""
    batch = points("a", 1, 5)
    await index.upsert(batch)
    once = await index.search(query())
    await index.upsert(batch)

    assert await index.count() == 5
    assert [hit.chunk_id for hit in await index.search(query())] == [hit.chunk_id for hit in once]


async def test_an_empty_batch_is_stored_without_complaint(index: VectorIndex) -> None:
    await index.upsert([])

    assert await index.count() == 0


async def test_a_tenant_finds_and_counts_only_its_own(index: VectorIndex) -> None:
    """INVARIANT: a tenant sees only its own; a search without the tenant's condition would show both."""
    await index.upsert([*points("a", 1, 3, tenant="acme"), *points("a", 1, 2, tenant="other")])
    await index.raise_fence("acme", "a", visible=1)

    assert {hit.tenant for hit in await index.search(query(tenant="other"))} == {"other"}
    assert await index.count("acme") == 3
    assert await index.count("other") == 2
    assert await index.count() == 5
    assert await index.fences("other", {"a"}) == {}
    listed = (await index.document_revisions()).entries
    assert {(entry.tenant, entry.points) for entry in listed} == {("acme", 3), ("other", 2)}


async def test_a_removal_leaves_the_same_document_of_another_tenant(index: VectorIndex) -> None:
    await index.upsert([*points("a", 1, 3, tenant="acme"), *points("a", 1, 2, tenant="other")])

    await index.remove_revisions("acme", "a", below=9)

    assert (await index.count("acme"), await index.count("other")) == (0, 2)


async def test_a_collection_narrows_search_and_count(index: VectorIndex) -> None:
    await index.upsert([point("a", collection="docs"), point("b", collection="wiki")])

    assert documents(await index.search(query(collection="wiki"))) == {"b"}
    assert await index.count("acme", "wiki") == 1
    assert await index.count(collection="docs") == 1


FILTERED: dict[str, dict[str, Any]] = {
    "a": {"team": "infra", "year": 2026, "score": 1.5, "public": True, "tags": ["red", "blue"], "code": "1"},
    "b": {"team": "web", "year": 2024, "score": 2.0, "public": False, "tags": ["blue"], "code": 1},
    "c": {"team": "web", "year": 2025, "flag": 1, "site name": 3, "a.b": 4, "note": "x" * 500},
    "d": {"note": "x" * 499 + "y", "huge": 2**60 + 1},
}


FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "abcd"),
    ({"team": "infra"}, "a"),
    ({"team": ["infra", "web"]}, "abc"),
    ({"missing": "x"}, ""),
    ({"year": 2024}, "b"),
    ({"year": 2024.0}, "b"),
    ({"year": "2024"}, ""),
    ({"year": [2024, 2025.0, "x", True]}, "bc"),
    ({"score": 1.5}, "a"),
    ({"score": 2}, "b"),
    ({"huge": 2**60 + 1}, "d"),
    ({"huge": 2**60}, ""),
    ({"public": True}, "a"),
    ({"public": False}, "b"),
    ({"public": 1}, ""),
    ({"flag": 1}, "c"),
    ({"flag": True}, ""),
    ({"code": "1"}, "a"),
    ({"code": 1}, "b"),
    ({"tags": "blue"}, "ab"),
    ({"tags": ["red", "green"]}, "a"),
    ({"note": "x" * 500}, "c"),
    ({"year": {"gte": 2025}}, "ac"),
    ({"year": {"gt": 2024, "lt": 2026}}, "c"),
    ({"year": {"lte": 2025, "gte": 2025}}, "c"),
    ({"score": {"lt": 1.75}}, "a"),
    ({"public": {"gte": 0}}, ""),
    ({"site name": {"gte": 3}}, "c"),
    ({"a.b": {"gte": 4}}, "c"),
    ({"team": "web", "year": 2024}, "b"),
    ({"any": [{"team": "infra"}, {"year": 2025}]}, "ac"),
    ({"any": [{"not": {"team": "web"}}, {"year": {"lt": 2025}}]}, "abd"),
    ({"any": [{}]}, "abcd"),
    ({"not": {"team": "web"}}, "ad"),
    ({"not": {"team": "web", "year": 2024}}, "acd"),
    ({"not": {"not": {"tags": "red"}}}, "a"),
    ({"not": {}}, ""),
    ({"team": "web", "not": {"year": 2024}}, "c"),
]


async def test_a_filter_finds_exactly_the_documents_it_describes(index: VectorIndex) -> None:
    await index.upsert([point(name, metadata=metadata) for name, metadata in FILTERED.items()])
    await index.upsert([point("other", tenant="other", metadata=FILTERED["a"])])

    found = [documents(await index.search(query(filter=parse_filter(raw)))) for raw, _ in FILTERS]

    assert [(raw, "".join(sorted(each))) for (raw, _), each in zip(FILTERS, found, strict=True)] == FILTERS


async def test_the_collections_of_a_document_are_those_of_all_its_revisions(index: VectorIndex) -> None:
    await index.upsert([*points("a", 1, 2), *points("a", 2, 1, collection="other"), *points("b", 3, 1)])
    await index.upsert(points("a", 4, 1, tenant="globex", collection="theirs"))
    assert await index.collections_of("acme", "a") == {"default", "other"}
    await index.remove_revision("acme", "a", 2)
    assert await index.collections_of("acme", "a") == {"default"}
    assert await index.collections_of("acme", "nobody") == set()


async def test_revisions_are_removed_below_a_bound_or_singly(index: VectorIndex) -> None:
    for revision in (1, 2, 3, 4):
        await index.upsert(points("a", revision, 2))
    await index.upsert(points("b", 1, 1))

    await index.remove_revisions("acme", "a", below=3)
    assert revisions(await index.search(query())) == {1, 3, 4}

    await index.remove_revision("acme", "a", 4)
    left = {(hit.document_id, hit.revision) for hit in await index.search(query())}
    assert left == {("b", 1), ("a", 3)}


async def test_pages_of_any_size_list_every_revision_of_every_document_once(index: VectorIndex) -> None:
    stored = {
        (1, "acme", "a"): 2,
        (2, "acme", "b"): 7,
        (5, "acme", "a"): 1,
        (6, "other", "c"): 9,
        (7, "acme", "d"): 1,
        (8, "other", "a"): 3,
    }
    for (revision, tenant, document_id), number in stored.items():
        await index.upsert(points(document_id, revision, number, tenant=tenant))

    for limit in (1, 3, 7, 8, 23, 24, 100):
        listed = await every_revision(index, limit)
        assert len(listed) == len(stored)
        assert {(entry.revision, entry.tenant, entry.document_id): entry.points for entry in listed} == stored


async def test_a_revision_that_several_documents_claim_is_counted_for_each(index: VectorIndex) -> None:
    await index.upsert([*points("a", 4, 6), *points("b", 4, 2), *points("a", 4, 3, tenant="other")])

    for limit in (1, 5, 11, 12):
        listed = await every_revision(index, limit)
        found = {(entry.tenant, entry.document_id): entry.points for entry in listed}
        assert found == {("acme", "a"): 6, ("acme", "b"): 2, ("other", "a"): 3}


async def every_revision(index: VectorIndex, limit: int) -> list[DocumentRevision]:
    listed: list[DocumentRevision] = []
    after: int | None = 0
    while after is not None:
        page = await index.document_revisions(after, limit)
        listed += page.entries
        after = page.next_after
    return listed


async def test_an_index_without_points_has_one_empty_page_of_revisions(index: VectorIndex) -> None:
    page = await index.document_revisions()

    assert (page.entries, page.next_after) == ((), None)


async def test_dense_hits_come_in_the_exact_order_of_their_cosine(index: VectorIndex) -> None:
    stored = [point("a", 1, ordinal) for ordinal in range(200)]
    await index.upsert(stored)
    wanted = vector(9)

    hits = await index.search(query(vector=wanted, limit=20))

    matrix = np.stack([each.vector for each in stored])
    cosines = matrix @ wanted / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted))
    best = np.argsort(-cosines)[:20]
    assert [hit.ordinal for hit in hits] == best.tolist()
    assert [hit.score for hit in hits] == pytest.approx(cosines[best].tolist(), abs=1e-5)


async def test_a_sparse_search_ranks_the_rarer_term_higher(index: VectorIndex) -> None:
    common, rare = 1, 2
    await index.upsert([point("common", 1, ordinal, sparse=SparseVector((common,), (1.0,))) for ordinal in range(8)])
    await index.upsert([point("rare", sparse=SparseVector((rare,), (1.0,))), point("without")])

    hits = await index.search(query(mode=SearchMode.SPARSE, sparse=SparseVector((common, rare), (1.0, 1.0))))

    assert hits[0].document_id == "rare"
    assert documents(hits) == {"rare", "common"}
    assert hits[0].similarity is not None


async def test_a_sparse_score_does_not_tell_of_another_tenant(index: VectorIndex) -> None:
    """INVARIANT: a tenant sees only its own; term statistics over all tenants would leak through the score."""
    terms = SparseVector((1,), (1.0,))
    await index.upsert([point("a", sparse=terms), point("b", sparse=SparseVector((2,), (1.0,)))])
    [before] = await index.search(query(mode=SearchMode.SPARSE, sparse=terms))

    await index.upsert(points("x", 1, 50, tenant="other", sparse=terms))
    [after] = await index.search(query(mode=SearchMode.SPARSE, sparse=terms))

    assert after.score == pytest.approx(before.score)


@pytest.mark.parametrize("words_weight", [None, 0.2], ids=["by rank", "by score"])
async def test_a_hybrid_search_fuses_both_rankings(index: VectorIndex, words_weight: float | None) -> None:
    generator = np.random.default_rng(5)
    stored = [
        point("a", 1, ordinal, sparse=SparseVector((1, 2), (float(weight), 1.0)))
        for ordinal, weight in enumerate(generator.permutation(np.arange(1, 13)))
    ]
    await index.upsert([*stored, point("without words")])
    terms = SparseVector((1,), (1.0,))
    by_meaning = await index.search(query())
    by_words = await index.search(query(mode=SearchMode.SPARSE, sparse=terms))

    hits = await index.search(query(mode=SearchMode.HYBRID, sparse=terms, words_weight=words_weight))

    cosines = {hit.chunk_id: hit.score for hit in by_meaning}
    fused = fuse(cosines, {hit.chunk_id: hit.score for hit in by_words}, words_weight)
    assert len(hits) == 13
    assert [hit.chunk_id for hit in hits] == list(fused)
    assert [hit.score for hit in hits] == pytest.approx(list(fused.values()), abs=1e-5)
    assert [hit.similarity for hit in hits] == pytest.approx([cosines[hit.chunk_id] for hit in hits], abs=1e-5)


async def test_what_only_words_find_has_its_similarity_in_a_hybrid_search(index: VectorIndex) -> None:
    wanted = vector()
    await index.upsert(
        [
            *(point("near", 1, ordinal, vector=wanted + 0.01 * ordinal) for ordinal in range(20)),
            point("far", vector=-wanted, sparse=SparseVector((1,), (1.0,))),
        ]
    )
    terms = SparseVector((1,), (1.0,))

    hits = await index.search(query(mode=SearchMode.HYBRID, sparse=terms, candidates=10, limit=11, words_weight=9.0))

    assert hits[0].document_id == "far"
    assert hits[0].similarity == pytest.approx(-1.0, abs=1e-3)


async def test_a_query_without_words_falls_back_on_meaning(index: VectorIndex) -> None:
    await index.upsert([point("a", sparse=SparseVector((1,), (1.0,)))])
    nothing = SparseVector((), ())

    assert await index.search(query(mode=SearchMode.SPARSE, sparse=nothing)) == []
    assert documents(await index.search(query(mode=SearchMode.HYBRID, sparse=nothing))) == {"a"}


async def test_a_sparse_filter_and_collection_hold_for_both_halves_of_a_hybrid_search(index: VectorIndex) -> None:
    terms = SparseVector((1,), (1.0,))
    await index.upsert(
        [
            point("a", collection="docs", metadata={"year": 1}, sparse=terms),
            point("b", collection="docs", metadata={"year": 2}, sparse=terms),
            point("c", collection="wiki", metadata={"year": 1}, sparse=terms),
        ]
    )

    hits = await index.search(
        query(mode=SearchMode.HYBRID, sparse=terms, collection="docs", filter=parse_filter({"year": 1}))
    )

    assert documents(hits) == {"a"}


async def test_an_unusable_point_is_refused_and_takes_its_whole_batch_with_it(index: VectorIndex) -> None:
    with pytest.raises(ModelMismatch, match=r"shape \(3,\).*model-a.*16 dimensions"):
        await index.upsert([point("a"), point("b", vector=np.ones(3, np.float32))])
    with pytest.raises(InvalidPoint, match="NaN or inf"):
        await index.upsert([point("a"), point("b", vector=np.full(DIMENSION, math.nan, np.float32))])
    with pytest.raises(InvalidPoint, match="no UUID"):
        await index.upsert([point("a"), replace(point("b"), chunk_id="seven")])

    assert await index.count() == 0


async def test_a_query_vector_of_another_model_is_refused(index: VectorIndex) -> None:
    with pytest.raises(ModelMismatch, match="the query"):
        await index.search(query(vector=np.ones(3, np.float32)))


async def test_many_writers_at_once_all_get_their_own_outcome(index: VectorIndex) -> None:
    broken = point("broken", metadata={"x": object()})
    batches = [index.upsert(points(f"d{number}", 1, 3)) for number in range(40)]
    outcomes = await asyncio.gather(*batches, index.upsert([broken]), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [type(None)] * 40 + [InvalidPoint]
    assert await index.count() == 120


async def test_the_description_names_engine_model_and_size(index: VectorIndex) -> None:
    await index.upsert(points("a", 1, 3))

    found = await index.describe()

    assert found.engine in {"qdrant-edge", "qdrant-server", "memory"}
    assert found.version
    assert (found.chunk_points, found.dimension, found.fingerprint) == (3, DIMENSION, MODEL)


async def test_a_closed_index_says_so(index: VectorIndex) -> None:
    await index.close()
    await index.close()

    with pytest.raises(IndexUnavailable, match="closed"):
        await index.search(query())
    with pytest.raises(IndexUnavailable, match="closed"):
        await index.upsert([point("a")])
