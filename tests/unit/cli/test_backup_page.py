"""docs/backup.md says what the commands take, what the tests do, and leads where it says."""

import re
from typing import Any

import pytest
import typer

from services.cli.main import build_app
from shared.settings import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
PAGE = (DOCS / "backup.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("#")
]


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what a command would be given; raises what the command line would end with."""
    rag: Any = typer.main.get_command(build_app())
    with rag.make_context("rag", [*words]) as context:
        name, command, rest = rag.resolve_command(context, [*words])
        with command.make_context(name, rest, parent=context) as inner:
            given: dict[str, Any] = inner.params
            return given


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("rag ")])
def test_every_command_of_the_page_takes_what_the_page_gives_it(line: str) -> None:
    assert parsed(line.split()[1:])


def test_other_commands_are_those_that_the_drill_of_the_database_runs() -> None:
    drill = (PROJECT_ROOT / "tests" / "e2e" / "test_database_restored.py").read_text(encoding="utf-8")
    others = [line.split() for line in COMMANDS if not line.startswith("rag ")]
    assert [words[0] for words in others] == ["pg_dump", "pg_restore"]
    for program, *options in others:
        named = [
            option for option in options if option.startswith("--") and not option.startswith(("--dbname", "--file"))
        ]
        assert all(f'"{word}"' in drill for word in (program, *named)), named


def headings(text: str) -> set[str]:
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_its_links_and_the_tests_that_it_names_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        text = (DOCS / path).read_text(encoding="utf-8") if path else PAGE
        assert not anchor or anchor in headings(text), target
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)
    assert len(named) >= 4
    assert [name for name in named if not (PROJECT_ROOT / name).exists()] == []
