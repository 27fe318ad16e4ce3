"""Dashboards are what their sources say, and what Grafana can show."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from observability.grafana import generate

Json = dict[str, Any]
FILES = sorted(generate.DASHBOARDS.glob("*.json"))
# Of Grafana's units those that are in use here; a new one is looked up in its list first.
UNITS = {"none", "short", "s", "bytes", "percentunit", "reqps", "ops", "mps"}
KINDS = {"timeseries", "stat", "bargauge", "state-timeline", "heatmap", "table"}


def read(path: Path) -> Json:
    found: Json = json.loads(path.read_text())
    return found


def panels(board: Json) -> list[Json]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def cells(panel: Json) -> list[tuple[int, int]]:
    place = panel["gridPos"]
    return [
        (x, y)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]  # fmt: skip


def test_the_dashboards_are_what_their_sources_say() -> None:
    differ = [path.name for path, text in generate.texts().items() if path.read_text() != text]
    assert differ == [], "run: python -m observability.grafana.generate"
    assert sorted(generate.texts()) == FILES


def test_no_two_dashboards_have_the_same_uid_or_title() -> None:
    boards = [read(path) for path in FILES]
    assert len(boards) == 5
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == 5
    assert all(len(board["uid"]) <= 40 for board in boards)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(path: Path) -> None:
    board = read(path)
    numbers = Counter(panel["id"] for panel in board["panels"])
    assert numbers.most_common(1)[0][1] == 1
    taken = Counter(cell for panel in board["panels"] for cell in cells(panel))
    assert taken.most_common(1)[0][1] == 1
    assert max(x for x, _ in taken) < generate.COLUMNS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_panel_has_a_title_a_unit_and_queries_of_the_chosen_data_source(path: Path) -> None:
    board = read(path)
    titles = [panel["title"] for panel in panels(board)]
    assert sorted(set(titles)) == sorted(titles)
    for panel in panels(board):
        assert panel["type"] in KINDS
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == list("ABCDEF")[: len(letters)]
        for owner in (panel, *panel["targets"]):
            assert owner["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_variables_are_declared_and_used(path: Path) -> None:
    board = read(path)
    declared = {variable["name"] for variable in board["templating"]["list"]}
    text = json.dumps(board["panels"])
    used = set(re.findall(r"\$\{?([a-z_]+)", text.replace("$__rate_interval", ""))) - {"__auto"}
    assert used == declared


def test_what_grafana_is_provisioned_with_names_the_data_source_and_a_folder() -> None:
    provisioning = generate.FOLDER / "provisioning"
    (source, _) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "$PROMETHEUS_URL")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "rag.yml").read_text())["providers"]
    assert provider["options"]["path"] == "$RAG_DASHBOARDS"
