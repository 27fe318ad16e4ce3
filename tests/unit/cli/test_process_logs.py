"""The output of child processes: complete, bounded, and never in their way."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.cli.process_logs import LineWriter, ProcessLog, RotatingFile, line_prefixes


class StuckTerminal(io.StringIO):
    """A terminal that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.released.wait(10)
        return super().write(text)


@contextmanager
def log_to(stream: io.StringIO, folder: Path, hidden: tuple[str, ...] = ()) -> Iterator[ProcessLog]:
    terminal = LineWriter(stream)
    log = ProcessLog("parser", folder, terminal, "parser |", hidden)
    yield log
    log.close()
    terminal.close()


def test_lines_are_whole_however_the_pipe_cuts_them(tmp_path: Path) -> None:
    stream = io.StringIO()
    with log_to(stream, tmp_path) as log:
        for piece in (b"one\ntw", b"o\nthr", b"ee \xe2\x82", b"\xac\nrest"):
            log.feed(piece)
        log.end()
    assert stream.getvalue() == "parser | one\nparser | two\nparser | three €\nparser | rest\n"
    assert (tmp_path / "parser.log").read_text() == "one\ntwo\nthree €\nrest\n"
    assert list(log.last_lines) == ["one", "two", "three €", "rest"]


def test_a_line_without_end_is_cut_instead_of_held(tmp_path: Path) -> None:
    stream = io.StringIO()
    with log_to(stream, tmp_path) as log:
        for _ in range(40):
            log.feed(b"x" * 4096)
    lengths = [len(line) for line in stream.getvalue().splitlines()]
    assert len(lengths) == 3
    assert max(lengths) < 70_000


def test_what_is_hidden_from_the_terminal_is_in_the_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    with log_to(stream, tmp_path, hidden=("[INF]",)) as log:
        log.feed(b"[INF] banner\n[ERR] trouble\n")
    assert stream.getvalue() == "parser | [ERR] trouble\n"
    assert (tmp_path / "parser.log").read_text() == "[INF] banner\n[ERR] trouble\n"


def test_a_line_cannot_control_the_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    with log_to(stream, tmp_path) as log:
        log.feed(b"\x1b]0;owned\x07 red \x1b[31m\n")
    assert "\x1b" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()


def test_a_stuck_terminal_holds_nobody_up_and_says_later_what_it_missed() -> None:
    stream = StuckTerminal()
    terminal = LineWriter(stream, max_waiting=10)
    started = time.monotonic()
    for number in range(1000):
        terminal.write(f"line {number}")
    assert time.monotonic() - started < 1
    stream.released.set()
    while "line 9\n" not in stream.getvalue():
        time.sleep(0.005)
    terminal.write("after")
    terminal.close()
    assert "lines not shown: this terminal is too slow" in stream.getvalue()
    assert stream.getvalue().endswith("after\n")


def test_a_terminal_that_went_away_does_not_matter(tmp_path: Path) -> None:
    stream = io.StringIO()
    stream.close()
    with log_to(stream, tmp_path) as log:
        for _ in range(20_000):
            log.feed(b"still here\n")
    assert (tmp_path / "parser.log").read_text().count("\n") == 20_000


def test_a_log_file_keeps_to_its_size_and_one_older_one(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "parser.log", max_bytes=1000)
    for number in range(100):
        file.write(b"%04d " % number + b"x" * 44)
    file.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sorted(sizes) == ["parser.log", "parser.log.1"]
    assert all(size <= 1000 for size in sizes.values())
    kept = (tmp_path / "parser.log.1").read_text() + (tmp_path / "parser.log").read_text()
    assert [int(line[:4]) for line in kept.splitlines()] == list(range(100 - kept.count("\n"), 100))


def test_a_log_file_goes_on_where_the_run_before_ended(tmp_path: Path) -> None:
    for text in (b"first run", b"second run"):
        file = RotatingFile(tmp_path / "parser.log")
        file.write(text)
        file.close()
    assert (tmp_path / "parser.log").read_text() == "first run\nsecond run\n"


def test_a_disk_that_takes_no_more_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    with log_to(stream, tmp_path / "missing") as log:
        log.feed(b"one\ntwo\n")
    shown = stream.getvalue().splitlines()
    assert [line for line in shown if "cannot be written" not in line] == ["parser | one", "parser | two"]
    assert len(shown) == 3


def test_names_stand_in_one_column() -> None:
    assert line_prefixes(["gateway", "embedder.2"], coloured=False) == {
        "gateway": "gateway    |",
        "embedder.2": "embedder.2 |",
    }


def test_colours_differ_from_process_to_process() -> None:
    prefixes = line_prefixes(["gateway", "parser"], coloured=True)
    assert len({prefix.split("m")[0] for prefix in prefixes.values()}) == 2
    assert all(prefix.endswith("\x1b[0m") for prefix in prefixes.values())
