"""Alerts, their tests and their runbooks belong together."""

import re

import pytest

from tests.observability.alert_files import PROJECT, RUNBOOKS, Alert, alerts, expectations

ALERTS = alerts()
NAMES = sorted({alert.name for alert in ALERTS})
# Of the platform as a whole; their value is 0 or 1.
WITHOUT_FIGURES = {"RagBrokerDown", "RagBacklogUnknown"}
SEVERITIES = {"critical", "warning", "info"}


def named(alert: Alert) -> str:
    return f"{alert.name}-{alert.severity}"


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_says_what_is_wrong_in_words_and_where_to_read_on(alert: Alert) -> None:
    assert alert.severity in SEVERITIES
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"observability/runbooks/{alert.name}.md"
    assert len(alert.annotations["summary"]) < 90
    assert re.search(r"\$(value|labels)", alert.annotations["description"]) or alert.name in WITHOUT_FIGURES


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n\n**Meaning.** ")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["First look", "First action"]
    assert "```sh\n" in text
    assert "```promql\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_links_of_a_runbook_lead_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", (RUNBOOKS / f"{name}.md").read_text()):
        path = RUNBOOKS / target
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text()), f"{target} has no heading #{anchor}"


def anchors(markdown: str) -> set[str]:
    """Return the anchors of all headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.*)$", markdown, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_is_seen_firing_and_seen_silent_while_its_series_are_there(alert: Alert) -> None:
    said = [(fires, series) for name, fires, series in expectations() if name == alert.name]
    assert [fires for fires, _ in said if alert.severity in fires], "no promtool test in which it fires"
    assert [series for fires, series in said if alert.severity not in fires and series], "no test in which it is silent"


def test_no_promtool_test_is_about_an_alert_that_is_gone() -> None:
    assert {name for name, _, _ in expectations()} <= set(NAMES)


def test_the_project_s_rules_are_where_the_configuration_looks_for_them() -> None:
    for name in ("prometheus.yml", "prometheus.local.yml"):
        assert "  - rules/*.yml\n" in (PROJECT / "observability" / "prometheus" / name).read_text()


def test_the_readme_s_links_and_files_are_there() -> None:
    folder = PROJECT / "observability"
    text = (folder / "README.md").read_text()
    named = re.findall(r"\]\((?!https?:)([^)#]+)", text) + re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    assert len(named) >= 10
    assert [name for name in named if not (folder / name).exists()] == []
    assert all((PROJECT / path).exists() for path in re.findall(r"observability/[a-z./]+\.yml", text))
