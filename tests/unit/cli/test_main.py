"""The `rag` command itself."""

import subprocess
import sys

from services.cli.conversations import CONVERSATION_COMMANDS
from services.cli.dead_letters import LETTER_COMMANDS
from services.cli.main import COMMANDS
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
    assert list(rows) == [*(command.__name__ for command in COMMANDS), "dead-letters", "conversations"]
    assert all(row.endswith(".") and not row.endswith("...") for row in rows.values())


def test_every_command_speaks_json() -> None:
    commands = [[command.__name__] for command in COMMANDS] + [["dead-letters", name] for name in LETTER_COMMANDS]
    commands += [["conversations", name] for name in CONVERSATION_COMMANDS]
    for command in commands:
        assert "--json" in run(f"from services.cli.main import main; main([*{command!r}, '--help'])")
