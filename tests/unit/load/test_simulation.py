"""The simulation beside what is known in closed form, and the autoscaler's rules one by one."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.load import simulation
from tests.load.bench.__main__ import joined, rows_of
from tests.load.bench.scale_out import EMBEDDER_REQUESTS, predictions
from tests.load.simulation import Part, fixed, scale_out_rate, simulate, wait_in_line
from tests.load.simulation_scaling import Autoscaler, Scaling, Trigger, read_scalings
from tests.platform_process import PROJECT

MANIFEST = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: embedder-bulk}
spec:
  scaleTargetRef: {name: embedder-bulk}
  minReplicaCount: 0
  maxReplicaCount: 8
  pollingInterval: 15
  cooldownPeriod: 300
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 120, policies: [{type: Pods, value: 1, periodSeconds: 60}]}}
  triggers:
    - type: nats-jetstream
      metadata: {account: $G, stream: CHUNKS, consumer: embedder, lagThreshold: "4"}
    - type: prometheus
      metadata: {query: "sum(rate(rag_requests_duration_seconds_sum[1m]))", threshold: "1"}
    - type: prometheus
      metadata: {query: "sum(rag_streams_open)", threshold: "700"}
    - type: cpu
      metricType: AverageValue
      metadata: {value: "700m"}
    - type: cpu
      metricType: Utilization
      metadata: {value: "70"}
    - type: prometheus
      metadata: {query: "histogram_quantile(0.95, rate(rag_messages_waiting_seconds_bucket[1m]))", threshold: "1"}
---
kind: NetworkPolicy
"""
SCALING = Scaling(0, 8, polling_seconds=15, triggers=(Trigger("CHUNKS/embedder", 10.0),))


def lag(messages: float) -> dict[str, float]:
    return {"CHUNKS/embedder": messages}


def run(scaler: Autoscaler, start: int, seconds: int, messages: float) -> list[int]:
    """Let it look each second, and return how many replicas it wants at each."""
    wanted = []
    for now in range(start, start + seconds):
        scaler.look(float(now), lag(messages))
        wanted.append(scaler.wanted)
    return wanted


def test_manifests_are_read_with_the_triggers_that_the_model_knows(tmp_path: Path) -> None:
    path = tmp_path / "scalers.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    triggers = (
        Trigger("CHUNKS/embedder", 4.0),
        Trigger("requests", 1.0),
        Trigger("streams", 700.0),
        Trigger("cpu", 0.7),
    )
    assert read_scalings(path) == {"embedder-bulk": Scaling(0, 8, 15, 300, 120, 60, triggers)}


def test_a_workload_wakes_at_the_next_poll_and_works_once_it_has_started() -> None:
    scaler = Autoscaler(SCALING, start_seconds=13.0)
    assert set(run(scaler, 0, 1, 0)) == {0}
    wanted = run(scaler, 1, 15, 5)
    assert wanted.index(1) == 14
    assert scaler.ready(27.0) == 0
    assert scaler.ready(28.0) == 1


def test_replicas_at_most_double_or_grow_by_four_in_each_round_up_to_the_maximum() -> None:
    scaler = Autoscaler(replace(SCALING, least=1, most=30), start_seconds=0.0)
    wanted = run(scaler, 0, 60, 1_000)
    assert [wanted[moment] for moment in (0, 15, 30, 45)] == [5, 10, 20, 30]


def test_what_is_within_a_tenth_of_the_threshold_changes_nothing() -> None:
    scaler = Autoscaler(replace(SCALING, least=5, most=30), start_seconds=0.0)
    assert set(run(scaler, 0, 60, 54)) == {5}
    assert run(scaler, 60, 60, 56)[-1] == 6


def test_replicas_go_one_a_minute_once_none_was_needed_for_the_whole_window_and_to_none_after_the_cooldown() -> None:
    scaler = Autoscaler(replace(SCALING, stabilization_seconds=120.0, cooldown_seconds=600.0), start_seconds=0.0)
    assert run(scaler, 0, 60, 40)[-1] == 4
    wanted = run(scaler, 60, 900, 0)
    # The last advice for four is of second 45.
    lowered = [60 + moment for moment in range(1, 900) if wanted[moment] < wanted[moment - 1]]
    assert lowered[0] >= 165
    assert all(later - earlier >= 60 for earlier, later in pairwise(lowered[:-1]))
    assert wanted[-1] == 0
    assert 645 <= lowered[-1] <= 660


def test_no_message_is_lost_or_made() -> None:
    part = Part("parser", 0.1, 2, 0.1, Scaling(0, 3, triggers=(Trigger("INGEST/parser", 50.0),)))
    behind = Part("embedder-bulk", 0.5, 2, 0.5, SCALING, ahead_seconds=5.0)
    first, second = simulate([part, behind], 30.0, 300.0, 13.0, tail=100.0)
    assert first.came[-1] == pytest.approx(9_000)
    assert first.came[-1] == pytest.approx(first.left[-1] + first.waiting)
    assert second.came[-1] == pytest.approx(first.left[-1])
    assert max(second.replicas) == 8


def test_a_part_that_is_full_holds_up_the_one_before_it() -> None:
    quick = Part("parser", 0.001, 2, 0.001, fixed(1))
    slow = Part("embedder-bulk", 1.0, 2, 1.0, fixed(1), ahead_seconds=5.0)
    first, second = simulate([quick, slow], 100.0, 60.0, 0.0)
    assert max(second.backlog) <= simulation.AHEAD_FLOOR
    assert first.backlog[-1] == pytest.approx(6_000 - second.came[-1])


def test_the_longest_wait_is_that_of_the_last_message_before_help_came() -> None:
    waking = Part("embedder-bulk", 0.1, 10, 0.1, replace(SCALING, most=1), cores=10.0)
    (queue,) = simulate([waking], 10.0, 120.0, 20.0)
    # Asleep until the poll at 15 s, then a start of 20 s; the first message has waited that long.
    assert queue.longest_wait() == pytest.approx(35.0, abs=1.0)


@pytest.mark.parametrize(
    ("rate", "slots", "seconds", "replicas", "expected"),
    [(1.0, 1, 0.5, 1, 0.5), (3.0, 1, 0.5, 2, 0.642857), (3.0, 2, 0.5, 1, 0.642857), (2.0, 1, 0.5, 1, math.inf)],
)
def test_waiting_in_line_is_that_of_erlang(
    rate: float, slots: int, seconds: float, replicas: int, expected: float
) -> None:
    part = Part("embedder-bulk", seconds, slots, 0.0, fixed(replicas))
    assert wait_in_line(rate, part, replicas) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("replicas", [1, 2, 4, 8])
def test_replicas_bounded_by_latency_alone_scale_in_proportion(replicas: int) -> None:
    assert scale_out_rate(replicas, EMBEDDER_REQUESTS, 0.5) == pytest.approx(
        replicas * EMBEDDER_REQUESTS / 0.5, rel=0.01
    )


def test_measured_rates_are_judged_beside_the_predicted_ones() -> None:
    rows = predictions({1: [7.5], 8: [52.0]}, 0.5)
    assert [row.passed for row in rows] == [True, False]


def test_kept_rates_of_scale_out_are_as_predicted() -> None:
    """INVARIANT: what `make simulate` predicts rests on a model that the measured rows of scale-out bear out.

    A bound of the platform's own in front of the models, which the model lacks, would break it.
    """
    kept = PROJECT / "docs" / "benchmarks" / "bench.json"
    rows = rows_of(joined(kept, {}))
    assert [row.figure for row in rows if row.figure.endswith("as predicted") and not row.passed] == []


def test_the_service_times_are_those_that_the_page_of_benchmarks_tells() -> None:
    times = json.loads(simulation.TIMES.read_text(encoding="utf-8"))
    page = (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    told = {
        **times["documents"]["processor_ms"],
        "embedder-interactive": times["questions"]["processor_ms"]["embedder-interactive"],
    }
    assert f"embedder {told['embedder-bulk']:g}, nats-server 2.0, persistence {told['persistence']}" in page
    assert f"retriever {told['retriever']} (before words were counted)" in page
    answer = times["questions"]["processor_ms"]
    assert (
        f"agent {answer['agent']}, retriever {answer['retriever']}, embedder {answer['embedder-interactive']}" in page
    )
    assert f"gateway {answer['gateway']}, persistence {answer['persistence']}" in page


def test_the_page_has_the_predictions_of_the_manifests_and_service_times_as_they_are() -> None:
    """Nothing in it is left to chance: who changes either runs `make simulate ARGS=--keep`."""
    times = json.loads(simulation.TIMES.read_text(encoding="utf-8"))
    page = simulation.PAGE.read_text(encoding="utf-8")
    kept = page.split(simulation.START)[1].split(simulation.END)[0].strip()
    assert kept == simulation.table(times, read_scalings(simulation.SCALERS))


def test_loads_of_ones_own_are_played_and_never_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulation.main(["--questions", "20", "--answer-seconds", "9"]) == 0
    (agent,) = (line for line in capsys.readouterr().out.splitlines() if "| agent |" in line)
    # 180 in work, 0.7 of 64 in each.
    assert agent.startswith("| 20 questions a second | agent | 5 |")
    assert simulation.main(["--questions", "20", "--keep"]) == 2
    assert "--keep is for the loads" in capsys.readouterr().err


def test_without_manifests_it_says_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulation.main(["--scalers", str(tmp_path / "none.yaml")]) == 2
    assert "name the manifest of the ScaledObjects by --scalers" in capsys.readouterr().err
