"""What a page names is there: a reader who looks for it finds it, and what was renamed shows up here."""

import json
import re
from pathlib import Path

import pytest

from services.agent.agent_mode.instructions import AGENT_PROMPT_VERSION
from services.agent.prompts import PROMPT_VERSION
from services.agent.rewrite_prompt import REWRITE_VERSION
from tests.architecture import page_names
from tests.architecture.test_rules import PROJECT
from tests.load import simulation, simulation_thresholds
from tests.load.simulation import Loads
from tests.load.simulation_scaling import read_scalings

DOCS = PROJECT / "docs"
LLM, SCALING = DOCS / "production-llm.md", DOCS / "scaling.md"
PAGES = sorted(DOCS.glob("*.md"))
WRONG = {
    "settings": "set `RAG_AGENT_WORKER`",
    "defaults": "`RAG_AGENT_WORKERS` (16) of them",
    "metrics": "`rag_llm_token_total`",
    "labels": '`rag_llm_tokens_total{model="x"}`',
    "tests": "`tests/unit/load/test_simulation.py::test_nothing`",
    "files": "`services/agent/none.py`",
    "commands": "```\nrag doctor --repair\n```\n",
    "alerts": "`RagNothingWrong`",
}


@pytest.mark.parametrize("check", page_names.CHECKS)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path, check: str) -> None:
    assert not page_names.CHECKS[check](page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_its_heading(page: Path) -> None:
    assert page_names.dead_links(page, page.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("page", [LLM, SCALING], ids=lambda page: page.name)
def test_queues_that_a_page_names_are_declared(page: Path) -> None:
    assert page_names.unknown_streams(page.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("check", page_names.CHECKS)
def test_what_is_not_there_is_found(check: str) -> None:
    """A check that finds nothing would let every page pass."""
    assert page_names.CHECKS[check](WRONG[check])


@pytest.mark.parametrize("command", ["rag ask-nobody", "rag keys lend", "make nothing", "rag up --colour"])
def test_a_command_that_is_not_there_is_found(command: str) -> None:
    assert page_names.wrong_commands(f"`{command}`")


def test_a_link_to_no_heading_and_a_queue_that_nobody_declares_are_found() -> None:
    assert page_names.dead_links(LLM, "[x](scaling.md#nowhere) [y](nothing.md) [z](scaling.md#thresholds)") == {
        "scaling.md#nowhere",
        "nothing.md",
    }
    assert page_names.unknown_streams("`INGEST/embedder` `LETTERS` `INGEST/parser`") == {"INGEST/embedder", "LETTERS"}


def test_every_part_says_what_goes_wrong_what_is_left_to_the_operator_and_which_test_shows_the_rest() -> None:
    parts = re.split(r"^## ", LLM.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(parts) >= 18
    for part in parts:
        title = part.splitlines()[0]
        assert "**Goes wrong.**" in part, title
        assert "**Here.**" in part or "| what happens | first move |" in part, title
        assert "**Yours.**" in part, title
        assert re.search(r"\*\*Test\.\*\* `tests/[\w/]+\.py::test_\w+`", part), title


def test_versions_of_prompts_are_those_that_the_page_tells() -> None:
    text = LLM.read_text(encoding="utf-8")
    assert all(f"`{version}`" in text for version in (PROMPT_VERSION, AGENT_PROMPT_VERSION, REWRITE_VERSION))


def test_thresholds_on_the_page_of_scaling_are_what_the_service_times_make_of_them() -> None:
    times = json.loads(simulation.TIMES.read_text(encoding="utf-8"))
    assert simulation_thresholds.table(times) in SCALING.read_text(encoding="utf-8")


def test_the_example_of_the_page_of_scaling_is_what_its_command_prints() -> None:
    text = SCALING.read_text(encoding="utf-8")
    (asked,) = re.findall(r'^make simulate ARGS="(--documents .+)"$', text, re.MULTILINE)
    words = asked.split()
    given = {name.removeprefix("--"): float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    loads = Loads([given["documents"]], [given["questions"]], given["answer-seconds"])
    times = json.loads(simulation.TIMES.read_text(encoding="utf-8"))
    assert simulation.table(times, read_scalings(simulation.SCALERS), loads) in text
