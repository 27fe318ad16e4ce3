"""The sandbox with real child processes, and documents that do their worst."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.parser.chunking import ChunkingLimits
from services.parser.document import Chunk
from services.parser.errors import ExtractionError, SandboxUnavailable
from services.parser.extraction_stream import ExtractionStream
from services.parser.jobs import ExtractionJob, ExtractionOutcome, JobLimits
from services.parser.sandbox import Sandbox, SandboxOptions
from tests.captured_logs import captured_lines, lines_of
from tests.integration import hostile_extractors
from tests.running import eventually
from tests.unit.parser.small_tokenizer import save_small_tokenizer

PROJECT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
LIMITS = JobLimits(wall_seconds=20, cpu_seconds=20, memory_bytes=512 * MIB)
LONG = "\n\n".join(f"{number}. {hostile_extractors.PARAGRAPH}".strip() for number in range(400))
HOSTILE = {
    f"application/x-{name.replace('_', '-')}": f"tests.integration.hostile_extractors:{name}"
    for name, value in vars(hostile_extractors).items()
    if callable(value) and getattr(value, "__module__", "") == hostile_extractors.__name__ and not name.startswith("_")
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def sandbox(tokenizer: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(tokenizer, SandboxOptions(extra_extractors=HOSTILE)) as sandbox:
        yield sandbox


def job(content: bytes | Path = b"Good text.", kind: str | None = None, **limits: Any) -> ExtractionJob:
    media_type = f"application/x-{kind}" if kind else None
    return ExtractionJob(content, media_type, limits=JobLimits(**{**vars_of(LIMITS), **limits}))


def vars_of(limits: JobLimits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in limits.__slots__}


async def read(sandbox: Sandbox, work: ExtractionJob) -> tuple[list[Chunk], ExtractionOutcome, int]:
    async with sandbox.extract(work) as stream:
        chunks = [chunk async for batch in stream for chunk in batch.chunks]
        return chunks, stream.outcome, stream.child_pid


async def read_rest(stream: ExtractionStream) -> None:
    async for _ in stream:
        pass


def ended(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


async def test_a_document_comes_back_as_chunks_and_an_outcome(sandbox: Sandbox) -> None:
    work = ExtractionJob(b"# Pumps\n\nThe pump starts.\n\n## Stop\n\nIt stops.", filename="pumps.md", title="Manual")
    chunks, outcome, _ = await read(sandbox, work)
    assert outcome == ExtractionOutcome("text/markdown", "Pumps", chunks=2, characters=40)
    assert [(chunk.text, chunk.heading_path, chunk.prefix) for chunk in chunks] == [
        ("Pumps\n\nThe pump starts.", ("Pumps",), "Manual\n\n"),
        ("Stop\n\nIt stops.", ("Pumps", "Stop"), "Manual > Pumps\n\n"),
    ]


async def test_media_type_and_title_are_known_before_the_first_batch(sandbox: Sandbox) -> None:
    async with sandbox.extract(ExtractionJob(b"<!doctype html><title>T</title>Text")) as stream:
        assert (stream.media_type, stream.title) == ("text/html", "T")
        with pytest.raises(RuntimeError, match="before all its batches"):
            _ = stream.outcome


async def test_batches_keep_to_both_bounds_and_lose_nothing(sandbox: Sandbox) -> None:
    async with sandbox.extract(job(LONG.encode(), batch_chunks=7, batch_bytes=3_000)) as stream:
        batches = [batch async for batch in stream]
    chunks = [chunk for batch in batches for chunk in batch.chunks]
    assert [batch.first_ordinal for batch in batches] == [batch.chunks[0].ordinal for batch in batches]
    assert [chunk.ordinal for chunk in chunks] == list(range(stream.outcome.chunks))
    assert all(LONG[chunk.char_start : chunk.char_end] == chunk.text for chunk in chunks)
    assert all(len(batch.chunks) <= 7 for batch in batches)
    assert all(sum(len(chunk.text) for chunk in batch.chunks) <= 3_000 for batch in batches if len(batch.chunks) > 1)


async def test_batches_arrive_while_the_child_still_works(sandbox: Sandbox) -> None:
    async with sandbox.extract(job(kind="stall", wall_seconds=1, batch_chunks=4)) as stream:
        assert (await anext(stream)).first_ordinal == 0
        with pytest.raises(ExtractionError, match="within 1 seconds"):
            await read_rest(stream)


async def test_a_spooled_file_reads_like_its_bytes(sandbox: Sandbox, tmp_path: Path) -> None:
    spooled = tmp_path / "spooled"
    spooled.write_bytes(LONG.encode())
    from_file, _, _ = await read(sandbox, job(spooled))
    from_bytes, _, _ = await read(sandbox, job(LONG.encode()))
    assert from_file == from_bytes


FAULTS = [
    ("spin", {"wall_seconds": 0.5}, "timeout"),
    ("sleep", {"wall_seconds": 0.5}, "timeout"),
    ("stall", {"wall_seconds": 0.5}, "timeout"),
    ("burn", {"cpu_seconds": 0.1}, "timeout"),
    ("eat-memory", {"memory_bytes": 200 * MIB}, "out_of_memory"),
    ("eat-native-memory", {"memory_bytes": 200 * MIB}, "out_of_memory"),
    ("segfault", {}, "crashed"),
    ("leave", {}, "crashed"),
    ("write-to-every-pipe", {}, "crashed"),
    ("fail", {}, "corrupt"),
    ("fail-late", {}, "corrupt"),
    ("flood", {"output_bytes": 1 * MIB}, "too_large"),
]


@pytest.mark.parametrize(("kind", "limits", "code"), FAULTS, ids=[f"{kind}: {code}" for kind, _, code in FAULTS])
async def test_a_fault_costs_its_own_document_only(
    sandbox: Sandbox, kind: str, limits: dict[str, Any], code: str
) -> None:
    """INVARIANT: whatever a document does to its child, it fails with a code and the next one is read at once."""
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(ExtractionError) as failed:
        await read(sandbox, job(kind=kind, **limits))
    assert failed.value.code == code
    assert failed.value.message.endswith((".", ")"))

    started = time.monotonic()
    _, outcome, pid = await read(sandbox, job())
    assert outcome.chunks == 1
    assert time.monotonic() - started < 1.0
    assert pid in before
    await eventually(
        lambda: [ended(pid) for pid in before].count(True) == 1, "the faulty child has ended, and no other"
    )


@pytest.mark.parametrize("content", [False, True], ids=["as it is", "with content"])
async def test_the_log_of_a_fault_holds_where_the_child_failed(sandbox: Sandbox, content: bool) -> None:
    """What the child said may quote its document, and is logged only where that is switched on."""
    with captured_lines("parser", log_content=content) as stream:
        with pytest.raises(ExtractionError):
            await read(sandbox, job(kind="fail"))
        await eventually(lambda: "parser_child_replaced" in stream.getvalue(), "the fault is logged")
    [line] = lines_of(stream)
    assert (line["child_error"], line["child_frames"][-1].split(" ")[1]) == ("KeyError", "fail")
    assert ("KeyError: 'xref table'" in line["child_stderr"]) == content
    assert len(line["child_stderr"]) <= 16 << 10


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (job(b" \n "), "no_text"),
        (job(b"\x89PNG\r\n\x1a\n\0"), "unsupported_type"),
        (job(kind="refuse"), "encrypted"),
    ],
    ids=["no text", "unsupported", "encrypted"],
)
async def test_an_unreadable_document_costs_no_child(tokenizer: Path, work: ExtractionJob, code: str) -> None:
    options = SandboxOptions(spares=0, extra_extractors=HOSTILE)
    async with Sandbox(tokenizer, options) as sandbox:
        _, _, before = await read(sandbox, job())
        with pytest.raises(ExtractionError) as refused:
            await read(sandbox, work)
        _, _, after = await read(sandbox, job())
    assert refused.value.code == code
    assert before == after


async def test_what_libraries_print_does_not_reach_the_protocol(sandbox: Sandbox) -> None:
    chunks, _, _ = await read(sandbox, job(kind="chatter"))
    assert [chunk.text for chunk in chunks] == ["quiet text"]


async def test_leaving_the_loop_ends_the_child_and_frees_its_place(sandbox: Sandbox) -> None:
    async with sandbox.extract(job(kind="flood", batch_chunks=2)) as stream:
        async for _ in stream:
            break
    _, _, pid = await read(sandbox, job())
    assert pid != stream.child_pid
    await eventually(lambda: ended(stream.child_pid), "the abandoned child has ended")


async def test_cancelling_ends_the_child_and_frees_its_place(sandbox: Sandbox) -> None:
    opened = asyncio.Event()
    pids = []

    async def wait_for_more() -> None:
        async with sandbox.extract(job(kind="stall", batch_chunks=2)) as stream:
            pids.append(stream.child_pid)
            async for _ in stream:
                opened.set()

    task = asyncio.create_task(wait_for_more())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await read(sandbox, job()))[1].chunks == 1
    await eventually(lambda: ended(pids[0]), "the cancelled child has ended")


async def test_a_slow_consumer_uses_up_neither_time_nor_memory(sandbox: Sandbox) -> None:
    """The child blocks on a full pipe, and its wall clock stands still while nobody asks for more."""
    async with sandbox.extract(job(LONG.encode() * 10, wall_seconds=1.5)) as stream:
        child = psutil.Process(stream.child_pid)
        await eventually(lambda: child.status() == psutil.STATUS_SLEEPING, "the child waits")
        used = child.cpu_times().user
        # The time that passes is what the test is about.
        await asyncio.sleep(1.6)
        assert child.cpu_times().user - used < 0.1
        assert len([batch async for batch in stream]) > 1


async def test_documents_are_read_side_by_side_up_to_the_size(tokenizer: Path) -> None:
    async with Sandbox(tokenizer, SandboxOptions(size=2, spares=0, extra_extractors=HOSTILE)) as sandbox:
        async with sandbox.extract(job(kind="flood")):
            assert (await read(sandbox, job()))[1].chunks == 1
            async with sandbox.extract(job(kind="flood")):
                third = asyncio.create_task(read(sandbox, job()))
                done, _ = await asyncio.wait([third], timeout=0.2)
                assert not done
        assert (await third)[1].chunks == 1


async def test_a_child_is_replaced_after_its_share_of_documents(tokenizer: Path) -> None:
    async with Sandbox(tokenizer, SandboxOptions(spares=0, max_jobs_per_child=2)) as sandbox:
        pids = [(await read(sandbox, job()))[2] for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


async def test_a_child_that_died_idle_is_not_used(tokenizer: Path) -> None:
    async with Sandbox(tokenizer, SandboxOptions(spares=0)) as sandbox:
        _, _, pid = await read(sandbox, job())
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not psutil.pid_exists(pid), "the child is gone")
        _, outcome, other = await read(sandbox, job())
    assert outcome.chunks == 1
    assert other != pid


async def test_a_sandbox_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="did not start"):
        await Sandbox(tmp_path / "no-tokenizer.json").start()
    assert [child for child in psutil.Process().children() if "sandbox_child" in " ".join(child.cmdline())] == []


async def test_closing_ends_children_at_work(tokenizer: Path) -> None:
    sandbox = Sandbox(tokenizer, SandboxOptions(extra_extractors=HOSTILE))
    await sandbox.start()
    async with sandbox.extract(job(kind="stall", batch_chunks=2)) as stream:
        await anext(stream)
        await sandbox.close()
        with pytest.raises(ExtractionError):
            await read_rest(stream)
    assert [child for child in psutil.Process().children() if "sandbox_child" in " ".join(child.cmdline())] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part of the sandbox is Linux only")
async def test_a_child_reaches_nothing_and_finds_no_secret(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """INVARIANT: a document that takes over its reader learns nothing about the service and can tell nobody."""
    monkeypatch.setenv("RAG_TEST_SECRET", "planted-secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        chunks, _, pid = await read(sandbox, job(str(server.getsockname()[1]).encode(), kind="spy"))
        with pytest.raises(BlockingIOError):
            server.accept()
    lines = [line for chunk in chunks for line in chunk.text.split("\n\n")]
    findings = dict(line.split(": ", 1) for line in lines)
    expected = [*UNREACHABLE, *(FILES if sandbox.isolation["landlock"] else [])]
    assert {name: findings[name] for name in expected if not findings[name].startswith("refused")} == {}
    assert "planted-secret" not in "".join(lines)
    assert set(psutil.Process(pid).environ()) == {"PATH", "LANG", "PYTHONPATH"}


async def test_a_child_inherits_no_secret_even_where_the_parent_has_one(
    tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_TEST_SECRET", "planted-secret")
    async with Sandbox(tokenizer, SandboxOptions(spares=0, extra_extractors=HOSTILE)) as sandbox:
        chunks, _, _ = await read(sandbox, job(b"9", kind="spy"))
    environment = next(chunk.text for chunk in chunks if "environment: got" in chunk.text)
    assert "PYTHONPATH" in environment
    assert "planted-secret" not in environment


UNREACHABLE = ["TCP", "UDP", "IPv6", "UNIX socket", "raw socket", "name", "program", "fork", "killing the parent"]
FILES = ["parent environment", "password file", "listing", "files", "writing"]


async def test_the_sandbox_reports_what_its_children_gave_up(sandbox: Sandbox) -> None:
    measures = {"namespaces", "parent_death_signal", "no_new_privileges", "landlock", "seccomp"}
    assert set(sandbox.isolation) == measures
    assert sandbox.isolation["seccomp"] or sandbox.isolation["namespaces"]


SCRIPT = """
import asyncio, sys
from services.parser.jobs import ExtractionJob
from services.parser.sandbox import Sandbox, SandboxOptions
from shared.logs import configure_logging
from shared.settings import PlatformSettings

configure_logging(PlatformSettings(), "parser")

async def main():
    options = SandboxOptions(extra_extractors={"application/x-spin": "tests.integration.hostile_extractors:spin"})
    async with Sandbox(sys.argv[1], options) as sandbox:
        print("ready", flush=True)
        async with sandbox.extract(ExtractionJob(b"x", "application/x-spin")):
            pass

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
async def test_children_die_with_a_killed_parent(tokenizer: Path) -> None:
    """INVARIANT: no reader outlives its service, not even a busy one after kill -9."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, str(tokenizer), cwd=PROJECT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 2
    await eventually(lambda: any(child.cpu_times().user > 0.3 for child in children), "a child is busy")
    parent.kill()
    await parent.wait()
    await eventually(lambda: all(ended(child.pid) for child in children), "the children have ended")


async def test_twenty_megabytes_are_read_in_bounded_memory(tokenizer: Path) -> None:
    """Both processes hold the text and little more; a consumer that keeps nothing lets the parent keep nothing."""
    text = (LONG.encode() + b"\n\n") * (20 * MIB // len(LONG))
    async with Sandbox(tokenizer, SandboxOptions(spares=0, chunking=ChunkingLimits())) as sandbox:
        before = psutil.Process().memory_info().rss
        async with sandbox.extract(job(text, memory_bytes=256 * MIB, wall_seconds=50, cpu_seconds=50)) as stream:
            characters = 0
            async for batch in stream:
                characters = batch.chunks[-1].char_end
        grown = psutil.Process().memory_info().rss - before
    assert characters == stream.outcome.characters > 19 * MIB
    assert grown < 24 * MIB
