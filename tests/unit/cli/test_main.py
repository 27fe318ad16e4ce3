"""The `rag` command itself."""

import subprocess
import sys

from services.cli.main import COMMANDS, GROUPS, WITHOUT_KEY
from shared.settings import PROJECT_ROOT

SLOW_LIBRARIES = ("rich", "httpx", "nats", "faststream", "numpy", "opentelemetry")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT, check=True)
    return done.stdout


def test_help_is_quick_because_it_loads_no_slow_library() -> None:
    code = "import sys; from services.cli.main import main; main(['ingest', '--help']); print(*sys.modules)"
    shown, _, loaded = run(code).rstrip().rpartition("\n")
    assert "Load files and folders" in shown
    assert not set(SLOW_LIBRARIES) & set(loaded.split())


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    shown = run("from services.cli.main import main; main(['--help'])")
    listed = shown.partition("Commands:")[2].split("\n")
    rows = {line.split()[0]: line for line in listed if line.strip()}
    assert list(rows) == [*(command.__name__ for command in COMMANDS), *GROUPS]
    assert all(row.endswith(".") and not row.endswith("...") for row in rows.values())


def test_every_command_speaks_json() -> None:
    commands = [[command.__name__] for command in COMMANDS]
    commands += [[group, name] for group, (members, _) in GROUPS.items() for name in members]
    without_key = [command.__name__ for command in WITHOUT_KEY]
    for command in commands:
        shown = run(f"from services.cli.main import main; main([*{command!r}, '--help'])")
        assert "--json" in shown
        assert ("--key" in shown) == (command[0] not in without_key)
