"""Makes Grafana's dashboards (`dashboards/*.json`) of what is worth writing by hand (`sources/*.yml`).

`python -m observability.grafana.generate` writes them; `--check` tells what differs and exits with 1.

A source holds a title, a uid, variables (name: query) and rows of panels. A panel has a title, a unit, a width in 24ths
and `queries`, legend: PromQL; `kind` is the type of the panel (time series), `about` its description, `colour` its
thresholds. Places, numbers and what every panel shares are made here, so that none overlaps another.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).resolve().parent
SOURCES, DASHBOARDS = FOLDER / "sources", FOLDER / "dashboards"
COLUMNS: Final = 24
PANEL_HEIGHT: Final = 8
SCHEMA_VERSION: Final = 39
PLUGIN_VERSION: Final = "11.0.0"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def dashboard(source: Json) -> Json:
    """Return the dashboard that a source describes, as Grafana reads it."""
    return {
        "annotations": {"list": []},
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [_link_to_the_others()],
        "panels": list(_panels(source["rows"])),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["rag"],
        "templating": {"list": [_datasource_variable(), *_variables(source.get("variables", {}))]},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": source["title"],
        "uid": source["uid"],
        "version": 1,
        "weekStart": "",
    }


def _panels(rows: list[Json]) -> Iterator[Json]:
    number, top = 0, 0
    for row in rows:
        number += 1
        yield _row(number, row["title"], top)
        top, left, highest = top + 1, 0, 0
        for panel in row["panels"]:
            number += 1
            width, height = panel["width"], panel.get("height", PANEL_HEIGHT)
            if left + width > COLUMNS:
                top, left, highest = top + highest, 0, 0
            yield _panel(number, panel, {"x": left, "y": top, "w": width, "h": height})
            left, highest = left + width, max(highest, height)
        top += highest


def _row(number: int, title: str, top: int) -> Json:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, source: Json, place: Json) -> Json:
    kind = source.get("kind", "timeseries")
    return {
        "id": number,
        "type": kind,
        "title": source["title"],
        "description": source.get("about", ""),
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(kind, source), "overrides": []},
        "options": OPTIONS[kind],
        "pluginVersion": PLUGIN_VERSION,
        "targets": [_target(*query, kind) for query in enumerate(source["queries"].items())],
    }


def _target(place: int, query: tuple[str, str], kind: str) -> Json:
    legend, expression = query
    instant = kind in {"stat", "bargauge", "table"}
    return {
        "refId": chr(ord("A") + place),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "format": {"table": "table", "heatmap": "heatmap"}.get(kind, "time_series"),
        "instant": instant,
        "range": not instant,
        "legendFormat": legend or "__auto",
        "exemplar": kind == "timeseries" and "_bucket" in expression,
    }


def _defaults(kind: str, source: Json) -> Json:
    first, *others = source.get("colour", ["green"])
    steps = [{"color": first, "value": None}, *({"color": colour, "value": value} for value, colour in others)]
    return {
        "unit": source["unit"],
        "min": 0,
        "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
        "custom": CUSTOM.get(kind, {}),
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": steps},
    }


LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}
OPTIONS: Final[dict[str, Json]] = {
    "timeseries": {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"colorMode": "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
             "reduceOptions": LAST, "textMode": "value"},
    "bargauge": {"displayMode": "basic", "minVizHeight": 10, "minVizWidth": 0, "orientation": "horizontal",
                 "reduceOptions": LAST, "showUnfilled": True, "valueMode": "color"},
    "state-timeline": {"alignValue": "center", "mergeValues": True, "rowHeight": 0.9, "showValue": "auto",
                       "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
                       "tooltip": {"mode": "single", "sort": "none"}},
    "heatmap": {"calculate": False, "cellGap": 1, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64,
                "exponent": 0.5, "fill": "dark-orange", "reverse": False, "scale": "exponential"},
                "exemplars": {"color": "rgba(255,0,255,0.7)"}, "filterValues": {"le": 1e-9}, "legend": {"show": True},
                "rowsFrame": {"layout": "auto"}, "tooltip": {"mode": "single", "yHistogram": False},
                "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"}},
    "table": {"cellHeight": "sm", "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
              "showHeader": True},
}  # fmt: skip
CUSTOM: Final[dict[str, Json]] = {
    "timeseries": {"drawStyle": "line", "fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": False},
    "state-timeline": {"fillOpacity": 70, "lineWidth": 0},
}


def _datasource_variable() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


def _variables(found: dict[str, str]) -> Iterator[Json]:
    for name, query in found.items():
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": "variable"},
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "hide": 0,
            "includeAll": True,
            "multi": True,
            "options": [],
            "refresh": 2,
            "regex": "",
            "skipUrlSync": False,
            "sort": 1,
        }


def _link_to_the_others() -> Json:
    return {
        "type": "dashboards",
        "title": "RAG",
        "tags": ["rag"],
        "asDropdown": True,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def texts() -> dict[Path, str]:
    """Return what every dashboard file has to hold."""
    return {
        DASHBOARDS / f"{path.stem}.json": json.dumps(dashboard(yaml.safe_load(path.read_text())), indent=2) + "\n"
        for path in sorted(SOURCES.glob("*.yml"))
    }


def main() -> int:
    """Write the files, or with `--check` name those that differ."""
    wanted = texts()
    differ = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    differ += [path for path in sorted(DASHBOARDS.glob("*.json")) if path not in wanted]
    if "--check" in sys.argv:
        for path in differ:
            sys.stderr.write(f"{path} is not what its source says: python -m observability.grafana.generate\n")
        return 1 if differ else 0
    for path in differ:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
