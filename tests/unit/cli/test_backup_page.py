"""docs/backup.md says what the drill of the database does; `tests/architecture/test_page_names.py` checks the rest."""

import re

from shared.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if not line.startswith("#")
]


def test_other_commands_are_those_that_the_drill_of_the_database_runs() -> None:
    drill = (PROJECT_ROOT / "tests" / "e2e" / "test_database_restored.py").read_text(encoding="utf-8")
    others = [line.split() for line in COMMANDS if not line.startswith("rag ")]
    assert [words[0] for words in others] == ["pg_dump", "pg_restore"]
    for program, *options in others:
        named = [
            option for option in options if option.startswith("--") and not option.startswith(("--dbname", "--file"))
        ]
        assert all(f'"{word}"' in drill for word in (program, *named)), named
