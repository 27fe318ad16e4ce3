"""Every panel shows something: a real Prometheus scrapes a real `rag up` in which all of it happens."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observability.grafana import generate
from tests.observability.alert_files import RUNBOOKS, alerts
from tests.observability.traffic import Traffic
from tests.platform_process import PROJECT, RunningPlatform, running_platform, wait_until
from tests.prometheus_server import Prometheus, missing, prometheus
from tests.redis_server import redis_server
from tests.scripted_llm import scripted_llm
from tests.telemetry.registry import names_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

SETTINGS = {
    "RAG_LLM_ATTEMPTS": "1",
    "RAG_LLM_BREAKER_FAILURES": "100",
    "RAG_LLM_INPUT_PRICE": "3",
    "RAG_LLM_OUTPUT_PRICE": "15",
    "RAG_GATEWAY_SAMPLE_SECONDS": "1",
    "RAG_PERSISTENCE_RECONCILE_INTERVAL_SECONDS": "5",
    "RAG_PERSISTENCE_RECONCILE_SETTLE_SECONDS": "1",
}
# What is not made to happen here; panels show 0 for these.
NEVER_HERE = {
    "rag_auth_failures_total": "RAG_AUTH=off asks for no key",
    "rag_rate_limit_hits_total": "nobody is limited",
    "rag_spans_dropped_total": "the local store takes them all",
    "rag_drains_total": "recorded in the last second of a process, which is seldom scraped",
    "rag_work_expired_total": "nobody gives up waiting",
    "rag_agent_budget_ends_total": "no budget is spent",
    "rag_parser_early_total": "there is one tenant",
    "rag:messages_waiting_in_place:sum": "nothing is away for long and no queue is full; tests/outages sees to that",
    "ALERTS": "nothing has to be wrong for long enough",
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningPlatform, Prometheus]]:
    folder: Path = tmp_path_factory.mktemp("panels")
    with scripted_llm() as llm, redis_server() as redis:
        settings = {**SETTINGS, "RAG_LLM_BASE_URL": llm.url, "RAG_REDIS_URL": redis.url}
        with (
            running_platform(folder / "data", **settings) as platform,
            prometheus(folder / "prometheus", platform.data / "scrape") as server,
        ):
            wait_until(lambda: server.query('up{job="rag"} == 1'), "Prometheus scrapes the platform", 30)
            traffic = Traffic(platform, server, llm, redis)
            try:
                for number in range(2):
                    traffic.round(number)
                traffic.restart_a_stage_in_the_middle()
                traffic.lose_the_cache()
            finally:
                traffic.close()
            wait_until(lambda: server.query("rag_reconcile_age_seconds"), "database and index were compared", 60)
            yield platform, server


@pytest.fixture(scope="module")
def server(stand: tuple[RunningPlatform, Prometheus]) -> Prometheus:
    return stand[1]


def queries() -> list[tuple[str, str]]:
    """Return every query of every panel, with where it is from."""
    found = []
    for path in sorted(generate.DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                found.append((f"{path.stem}: {panel['title']} {target['refId']}", target["expr"]))
    return found


def as_grafana_asks(expression: str) -> str:
    """Fill in what Grafana would: all values of each variable, and a window that holds the whole traffic."""
    return re.sub(r"\$[a-z]+", ".*", expression.replace("$__rate_interval", "3m"))


def own_names(expressions: list[str]) -> list[str]:
    return sorted({name for expression in expressions for name in names_in(expression)})


def test_prometheus_scrapes_every_process_that_rag_up_runs(stand: tuple[RunningPlatform, Prometheus]) -> None:
    platform, server = stand
    found = {(one["metric"]["instance"], one["metric"]["service"]) for one in server.query("up")}
    assert found == {(name, name.partition(".")[0]) for name in platform.ready["health"]}


def test_the_query_of_every_panel_returns_series(server: Prometheus) -> None:
    def empty() -> list[str]:
        return [where for where, expression in queries() if not server.query(as_grafana_asks(expression))]

    left = empty()
    # What happened last is in no window yet: its second scrape is to come.
    if left:
        wait_until(lambda: not empty(), f"panels without series: {left}", 20)


def test_every_figure_that_a_panel_shows_exists_not_only_the_zero_in_its_place(server: Prometheus) -> None:
    names = own_names([expression for _, expression in queries()])
    absent = [name for name in names if name not in NEVER_HERE and not server.query(f"last_over_time({name}[5m])")]
    assert absent == []
    assert set(NEVER_HERE) <= set(names), "a reason without a panel"


def test_everything_that_was_broken_is_seen_where_it_belongs(server: Prometheus) -> None:
    assert server.value("sum(max_over_time(rag:dead_letters_arrived:increase15m[3m]))") > 0
    assert server.value("sum(rag_messages_redelivered_total)") > 0
    assert server.value('sum(rag_queries_duration_seconds_count{rag_outcome="failed"})') > 0
    assert server.value('sum(rag_queries_duration_seconds_count{rag_cached="true"})') > 0


def test_alerts_and_recording_rules_are_evaluated_without_a_fault(server: Prometheus) -> None:
    groups: list[dict[str, Any]] = server.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {alert.name for alert in alerts()}
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_the_queries_of_runbooks_can_be_asked(server: Prometheus) -> None:
    for path in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
            for expression in block.splitlines():
                server.query(expression)


def commands() -> list[str]:
    """Return the shell commands of all runbooks."""
    blocks = [re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL) for path in RUNBOOKS.glob("*.md")]
    return sorted({line for found in blocks for block in found for line in block.splitlines()})


@pytest.mark.extended
def test_the_commands_of_runbooks_work(stand: tuple[RunningPlatform, Prometheus]) -> None:
    platform, _ = stand
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAG_URL": platform.url,
        "RAG_DATA_DIR": str(platform.data),
    }
    assert len(commands()) >= 10
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # 1 says that something is wrong with the platform, or that a model does not answer; 2 is a wrong command.
        assert done.returncode in (0, 1), f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip() or done.stderr.strip(), command
