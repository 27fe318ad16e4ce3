"""What people see in a terminal of 80 columns, with colours and without."""

import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.integration.cli.fake_gateway import FakeGateway
from tests.servers import child_environment
from tests.terminal import COLOUR, longest, plain, rag_in_terminal

LONG = "A broker keeps every message until somebody has said that it is done, and only then does it forget it [1]."


def answer_of(gateway: FakeGateway, *steps: dict[str, object]) -> None:
    """Have the gateway tell these steps and then a long answer, in pieces that end in the middle of words."""
    told = [("step", dict(step)) for step in steps]
    deltas = [("delta", {"text": LONG[at : at + 7]}) for at in range(0, len(LONG), 7)]
    citation = {
        "n": 1,
        "document_id": "a",
        "chunk_id": "a-0",
        "title": "The guide",
        "uri": None,
        "quote": "A broker keeps.",
    }
    done = {"answer": LONG, "answered": True, "citations": [citation], "steps": [], "usage": {}, "cached": False}
    gateway.answers.events = [*told, ("retrieval", {"hits": []}), *deltas, ("done", done)]


def test_an_answer_is_broken_between_words(gateway: FakeGateway) -> None:
    answer_of(gateway)
    with rag_in_terminal("ask", "what do brokers do?", RAG_URL=gateway.url) as terminal:
        written = terminal.read_all()
    assert re.search("Searching|Reading what was found", written)
    lines = [line.rsplit("\r", 1)[-1] for line in plain(written).split("\n")]
    at = lines.index("then does it forget it [1].")
    assert lines[at - 1].endswith("A broker keeps every message until somebody has said that it is done, and only")
    assert COLOUR.search(written)


def test_the_steps_of_an_agent_are_told_as_they_end(gateway: FakeGateway) -> None:
    step = {"n": 1, "kind": "tool", "tool": "search", "arguments": {"query": "brokers"}, "duration_ms": 12.3}
    answer_of(gateway, step, {**step, "n": 2, "tool": "read", "failed": True})
    with rag_in_terminal("ask", "--agent", "what do brokers do?", RAG_URL=gateway.url) as terminal:
        written = plain(terminal.read_all())
    assert "· search {'query': 'brokers'}, 12 ms" in written
    assert "✗ read {'query': 'brokers'}, 12 ms" in written
    assert written.index("✗ read") < written.index("A broker keeps")


@pytest.mark.parametrize("settings", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no colour", "dumb"])
def test_without_colour_it_is_the_same_text(gateway: FakeGateway, settings: dict[str, str]) -> None:
    answer_of(gateway)
    with rag_in_terminal("ask", "what do brokers do?", RAG_URL=gateway.url, **settings) as terminal:
        written = terminal.read_all()
    assert "[1] The guide  a\n" in plain(written)
    assert not COLOUR.search(written)


def test_the_state_fits_and_is_drawn_in_place(gateway: FakeGateway) -> None:
    with rag_in_terminal("status", "--watch", "--interval", "0.5", RAG_URL=gateway.url) as terminal:
        written = terminal.read_until(lambda text: text.count("every 0.5 s, Ctrl-C ends") >= 3)
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_all()
    assert terminal.process.returncode == 130
    assert longest(plain(written).splitlines()) <= 80
    assert "\x1b[1A" in written
    assert COLOUR.search(written)


@pytest.mark.parametrize(
    ("typed", "wanted"), [("rag stat", "status"), ("rag status --w", "--watch"), ("rag keys re", "revoke")]
)
def test_a_shell_completes_commands_and_options(tmp_path: Path, typed: str, wanted: str) -> None:
    environment = child_environment(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    run = partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    # Which shell it is for, it sees by who has started it.
    script = run(["bash", "-c", "rag --show-completion; exit $?"]).stdout
    words = f"COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}"
    found = run(["bash", "-c", f'{script}\n{words}; _rag_completion rag; echo "${{COMPREPLY[@]}}"'])
    assert wanted in found.stdout.split()
