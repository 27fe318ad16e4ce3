"""What the bench computes: percentiles, rates, slopes, shares of linear; and the rows made of measurements."""

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.load.bench import mixed, scale_out, search, searchable, soak
from tests.load.bench.arithmetic import drift, linear_share, percentiles_ms, rate_within, slope, thirds
from tests.load.bench.first_delta import rows as first_delta_rows
from tests.load.bench.growth import rows as growth_rows
from tests.load.bench.growth import size_mb
from tests.load.bench.http_client import body_of
from tests.load.bench.ingest import embedded_texts
from tests.load.bench.model_server import DIMENSION, embedding
from tests.load.bench.row import Row
from tests.load.bench.stand import SENTENCES
from tests.load.material import documents_of, questions_of
from tests.load.process_watch import process_name


def by_figure(rows: list[Row]) -> dict[str, Row]:
    return {row.figure: row for row in rows}


def test_percentiles_are_by_nearest_rank_and_infinite_without_any() -> None:
    assert percentiles_ms([float(each) for each in range(100, 0, -1)]) == (51.0, 100.0)
    assert percentiles_ms([]) == (float("inf"), float("inf"))


def test_a_rate_counts_what_ended_within_the_window_only() -> None:
    assert rate_within([0.5, 1.0, 1.5, 2.9, 3.0, 9.0], 1.0, 3.0) == 1.5
    with pytest.raises(ValueError, match="no length"):
        rate_within([1.0], 2.0, 2.0)


def test_a_slope_is_that_of_least_squares() -> None:
    assert slope([0.0, 1.0, 2.0], [5.0, 7.0, 9.0]) == pytest.approx(2.0)
    assert slope([0.0, 1.0, 2.0, 3.0], [1.0, -1.0, 1.0, -1.0]) == pytest.approx(-0.4)
    with pytest.raises(ValueError, match="two points"):
        slope([1.0, 1.0], [1.0, 2.0])


def test_a_drift_is_that_of_thirds_which_single_outliers_do_not_move() -> None:
    assert thirds([9.0, 1.0, 1.0, 5.0, 5.0, 5.0, 2.0, 2.0, 99.0]) == (1.0, 2.0)
    assert drift([9.0, 1.0, 1.0, 5.0, 5.0, 5.0, 2.0, 2.0, 99.0]) == 1.0
    with pytest.raises(ValueError, match="third"):
        drift([1.0, 2.0])


def test_shares_of_linear_count_from_the_fewest_replicas() -> None:
    assert linear_share({1: 10.0, 2: 20.0, 8: 72.0}) == {1: 1.0, 2: 1.0, 8: 0.9}
    assert linear_share({2: 20.0, 4: 30.0}) == {2: 1.0, 4: 0.75}
    with pytest.raises(ValueError, match="did nothing"):
        linear_share({1: 0.0, 2: 1.0})


def test_scale_out_is_judged_round_by_round() -> None:
    found = by_figure(scale_out.rows("embedder", "chunks", {1: [10.0, 5.0, 10.0], 8: [71.0, 38.0, 79.0]}))
    eight = found["8 replicas of embedder: chunks a second"]
    assert eight.related == pytest.approx(0.95)
    assert eight.passed
    assert found["1 replica of embedder: chunks a second"].limit is None
    assert not scale_out.rows("agent", "answers", {1: [10.0], 2: [17.9]})[1].passed


def test_search_is_limited_in_p50_for_one_caller_and_in_throughput_for_the_most() -> None:
    in_process = [search.Round(10.0, 12.0, 200.0, 8.0)]
    one = by_figure(search.rows(1, [search.Round(16.1, 20.0, 60.0, 9.0)], in_process))
    assert not one["search, 1 caller: p50"].passed
    assert one["search, 1 caller: searches a second"].limit is None
    most = by_figure(search.rows(32, [search.Round(300.0, 400.0, 161.0, 9.0)], in_process))
    assert most["search, 32 callers: p50"].limit is None
    assert most["search, 32 callers: searches a second"].passed
    assert not search.rows(32, [search.Round(300.0, 400.0, 159.0, 9.0)], in_process)[2].passed


def test_mixed_load_is_limited_in_p99_of_the_open_loop_and_in_what_ingestion_keeps() -> None:
    idle = mixed.Figures([(10.0, 20.0)], [(15.0, 30.0)], [200.0])
    busy = mixed.Figures([(12.0, 51.0)], [(40.0, 300.0)], [60.0], {"none": [80.0], "open": [55.0], "closed": [20.0]})
    found = by_figure(mixed.rows(idle, busy))
    missed = sorted(name for name, row in found.items() if not row.passed)
    assert missed == [
        "10 searches a second (open loop) while ingestion is saturated: p99",
        "ingestion with 10 searches a second: chunks a second",
    ]
    assert found["ingestion with 4 callers: chunks a second"].related == 0.25


def test_the_first_piece_is_limited_in_p95_at_32_users_and_answers_from_a_cache_are_none() -> None:
    run: dict[str, Any] = {"first_ms": [100.0] * 9 + [251.0], "errors": {}, "cached": 0}
    rows = first_delta_rows(32, [run], [[10.0] * 10])
    assert [row.passed for row in rows] == [True, False, True]
    assert all(row.passed for row in first_delta_rows(8, [run], [[10.0] * 10]))
    with pytest.raises(RuntimeError, match="from a cache"):
        first_delta_rows(8, [{**run, "cached": 1}], [[10.0]])


def test_growth_is_read_beside_the_smallest_index_and_beside_the_vectors_alone() -> None:
    found = by_figure(
        growth_rows(
            {1000: [10.0, 12.0], 50_000: [20.0, 30.0]}, {1000: 200.0, 50_000: 400.0}, {1000: 3.0, 50_000: 153.6}
        )
    )
    assert found["50,000 chunks: search p50"].related == 2.25
    assert found["1,000 chunks: search p50"].yardstick is None
    assert found["50,000 chunks: index on disk"].related == pytest.approx(2.0)


def test_time_to_searchable_under_load_is_beside_the_idle_one() -> None:
    rows = searchable.rows([(500.0, 900.0)], [(1_000.0, 2_700.0)])
    assert [row.related for row in rows] == [None, 2.0, None, 3.0]


def test_a_soak_fails_for_the_process_that_grows_and_for_a_backlog_that_does() -> None:
    times = [float(each) for each in range(0, 90, 10)]
    steady, growing = [100.0, 102.0, 101.0] * 3, [100.0 + each for each in range(9)]
    samples = soak.Samples(times, {"agent": steady, "retriever": growing}, [float(each * 4) for each in range(9)])
    found = by_figure(soak.rows(samples))
    assert sorted(name for name, row in found.items() if not row.passed) == [
        "backlog, last third less first",
        "memory of retriever, last third",
    ]
    assert found["memory of retriever: slope"].value == pytest.approx(360.0)


def test_the_made_vectors_are_those_of_the_words_whatever_their_order() -> None:
    assert embedding("The lock opens.").shape == (DIMENSION,)
    assert np.allclose(embedding("lock opens"), embedding("Opens, lock"), atol=1e-4)
    assert not np.allclose(embedding("lock opens"), embedding("lock closes"), atol=1e-1)


def test_an_index_takes_what_its_files_do_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "vectors").write_bytes(b"x" * 1_000_000)
    with (tmp_path / "sparse").open("wb") as hole:
        hole.truncate(50_000_000)
    assert 1.0 <= size_mb(tmp_path) < 1.5


def test_a_folder_gives_its_documents_and_questions_again_and_again_under_new_ids(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt", encoding="utf-8") as corpus:
        corpus.writelines(f'{{"_id": {number}, "title": "T", "text": "x{number}"}}\n' for number in (5, 6))
    with gzip.open(tmp_path / "queries.jsonl.gz", "wt", encoding="utf-8") as queries:
        queries.writelines(f'{{"_id": {number}, "text": "q{number}"}}\n' for number in range(3))
    found = [documents_of(tmp_path, "c", 7, 4)(number) for number in range(3)]
    assert [(one["id"], one["text"], one["collection"]) for one in found] == [
        ("5", "x5", "c"),
        ("6", "x6", "c"),
        ("5-1", "x5", "c"),
    ]
    asked = questions_of(tmp_path, 7)
    assert sorted(next(asked) for _ in range(3)) == ["q0", "q1", "q2"]
    assert next(asked) in {"q0", "q1", "q2"}


def test_made_documents_and_questions_are_those_of_their_seed() -> None:
    first, again, other = (documents_of(None, "c", seed, 6)(3) for seed in (7, 7, 8))
    assert first == again != other
    assert first["text"].count(".") == 6
    assert next(questions_of(None, 7)) == next(questions_of(None, 7)) != next(questions_of(None, 8))


def test_a_question_of_a_folder_may_hold_quotes(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "queries.jsonl.gz", "wt", encoding="utf-8") as queries:
        queries.write('{"text": "what is a \\"lock\\"?"}\n')
    given = argparse.Namespace(data=tmp_path, seed=7, documents=0, body='{"query": "{}"}')
    sent = json.loads(body_of(given)())
    assert sent["query"].startswith('what is a "lock"? ')


def test_the_bare_loop_reads_the_chunks_that_the_parser_makes() -> None:
    short, long = (documents_of(None, "c", 7, sentences)(0) for sentences in (SENTENCES, 3 * SENTENCES))
    (only,) = embedded_texts([short])
    assert only.startswith("Report 0")
    assert only.endswith(short["text"])
    assert len(embedded_texts([short, long])) > 2


def test_processes_of_one_service_have_names_of_their_own() -> None:
    embedder = ("python", "-m", "services.embedder.app")
    names = [process_name(embedder, f"embedder-{each}") for each in ("1", "2", "queries")]
    assert names == ["embedder", "embedder.2", "embedder.queries"]
    assert process_name(("/bin/nats-server", "--config", "x"), "") == "nats-server"
