"""Documents that are damaged, locked or made to do harm, read by the real sandbox under the service's own limits."""

import csv
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Final

import psutil
import pytest
import pytest_asyncio

from services.parser.errors import ExtractionError
from services.parser.jobs import ExtractionJob, JobLimits
from services.parser.sandbox import Sandbox, SandboxOptions
from tests.unit.parser import small_pdf
from tests.unit.parser.small_tokenizer import save_small_tokenizer

DOCUMENTS: Final = Path(__file__).resolve().parents[3] / "shared/data/documents"
MIB: Final = 1 << 20
REFUSED: Final = frozenset({"corrupt", "encrypted", "no_text", "out_of_memory", "timeout", "too_large"})
REFUSED_OR_UNKNOWN: Final = REFUSED | {"unsupported_type"}
# An empty message still has a subject, an empty workbook the name of its sheet.
HARDLY_ANY_TEXT: Final = 1_000
READ: Final = "read"
HARDLY: Final = "hardly any text"

# What `files.csv` expects, and the outcomes that meet it.
EXPECTED: Final = {
    "ingest": {READ, HARDLY},
    "ingest-no-escape": {READ, HARDLY},
    "ingest-no-obey": {READ, HARDLY},
    "ingest-or-policy-reject": {READ, HARDLY, "encrypted"},
    "ingest-degraded-no-crash": {READ, HARDLY, *REFUSED},
    "reject-needs-password": {"encrypted"},
    "reject-or-empty-no-crash": {HARDLY, *REFUSED_OR_UNKNOWN},
}
ESCAPED: Final = Path("/tmp/zz-zip-slip-was-here.txt")


def hostile_files() -> list[tuple[str, str]]:
    table = DOCUMENTS / "files.csv"
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return [(row["path"], row["expect"]) for row in csv.DictReader(file) if row["kind"] == "hostile"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    tokenizer = save_small_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    async with Sandbox(tokenizer, SandboxOptions(max_jobs_per_child=2_000)) as sandbox:
        yield sandbox


async def outcome(sandbox: Sandbox, content: bytes, filename: str, limits: JobLimits | None = None) -> str:
    try:
        async with sandbox.extract(ExtractionJob(content, None, filename, limits=limits or JobLimits())) as stream:
            async for _ in stream:
                pass
            return READ if stream.outcome.characters > HARDLY_ANY_TEXT else HARDLY
    except ExtractionError as error:
        return error.code


async def meets(sandbox: Sandbox, content: bytes, filename: str, expected: set[str], limits: JobLimits) -> None:
    started = time.monotonic()
    assert await outcome(sandbox, content, filename, limits) in expected
    ended = time.monotonic()
    assert ended - started < 60
    assert await outcome(sandbox, b"# Good\n\nThe text behind it.", "good.md") == HARDLY
    assert time.monotonic() - ended < 5


@pytest.mark.skipif(not DOCUMENTS.exists(), reason="needs the folder of sample documents")
@pytest.mark.timeout(150)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("path", "expect"), hostile_files())
async def test_a_hostile_file_ends_as_expected_and_holds_up_nothing(sandbox: Sandbox, path: str, expect: str) -> None:
    """INVARIANT: every document comes to an end that has a name, never to a crash, and the next one is read at once."""
    content = (DOCUMENTS / path).read_bytes()
    await meets(sandbox, content, Path(path).name, EXPECTED[expect], JobLimits())
    assert not ESCAPED.exists()


def looping_page_tree() -> bytes:
    tree = b"<</Type/Pages/Count 3/Kids[2 0 R 4 0 R 2 0 R]/MediaBox[0 0 612 792]>>"
    page = small_pdf.page(b"/Contents 5 0 R")
    content = small_pdf.stream(small_pdf.drawing(small_pdf.lines("In a loop.")))
    return small_pdf.pdf([b"<</Type/Catalog/Pages 2 0 R>>", tree, small_pdf.FONT, page, content])


def deep_page_tree() -> bytes:
    nodes = [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (number + 3) for number in range(50_000)]
    return small_pdf.pdf([b"<</Type/Catalog/Pages 2 0 R>>", *nodes, b"<</Type/Page/Parent 2 0 R>>"])


def endless_content() -> bytes:
    """Return a page whose content shows a form that shows the next form four times, and so on: 4^30 letters."""
    page = b"<</Type/Page/Parent 2 0 R/Resources<</XObject<</X 6 0 R>>>>/Contents 5 0 R>>"
    catalog, tree = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[4 0 R]/MediaBox[0 0 612 792]>>"
    forms = [_form(b"/X Do " * 4, b"/XObject<</X %d 0 R>>" % (7 + number)) for number in range(30)]
    last = _form(small_pdf.drawing(small_pdf.lines("x")), b"/Font<</F1 3 0 R>>")
    return small_pdf.pdf([catalog, tree, small_pdf.FONT, page, small_pdf.stream(b"/X Do"), *forms, last])


def _form(content: bytes, resources: bytes) -> bytes:
    return small_pdf.stream(content, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<<%b>>" % resources)


def object_stream_bomb() -> bytes:
    bomb = small_pdf.stream(b" " * (400 * MIB), b"/Type/ObjStm/N 1/First 10", packed=True)
    return small_pdf.HEADER + b"1 0 obj\n%b\nendobj\n2 0 obj\n<</Type/Page>>\nendobj\n" % bomb


def content_bomb() -> bytes:
    content = small_pdf.stream(b"BT /F1 9 Tf " + b"(Bomb) Tj " * (20 * MIB) + b"ET", packed=True)
    return small_pdf.drawn(b"").replace(small_pdf.stream(b""), content)


def word_bomb() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w") as member:
            member.write(b"<w:document>")
            for _ in range(300):
                member.write(b" " * MIB)
    return buffer.getvalue()


def billion_laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{entities}]><l>&l9;</l>'.encode()


def truncated() -> bytes:
    whole = small_pdf.written(small_pdf.lines("The first page is still there."), small_pdf.lines("The second is not."))
    return whole[: len(whole) * 2 // 3]


TIMELY: Final = JobLimits(wall_seconds=20, cpu_seconds=10, memory_bytes=512 * MIB)
GENERATED: Final[dict[str, tuple[Callable[[], bytes], str, set[str]]]] = {
    "a loop in the page tree": (looping_page_tree, "loop.pdf", {HARDLY}),
    "a page tree 50,000 levels deep": (deep_page_tree, "deep.pdf", {"corrupt", "no_text"}),
    "content without end": (endless_content, "endless.pdf", {"out_of_memory", "timeout"}),
    "a bomb in an object stream": (object_stream_bomb, "objects.pdf", set(REFUSED)),
    "a bomb in a page's content": (content_bomb, "content.pdf", {"out_of_memory", "timeout", "too_large"}),
    "a PDF that was cut off": (truncated, "cut.pdf", {HARDLY}),
    "a header and no PDF": (lambda: b"%PDF-1.7\n" + bytes(range(256)) * 999, "noise.pdf", {"corrupt"}),
    "300 MiB in a small DOCX": (word_bomb, "bomb.docx", set(REFUSED_OR_UNKNOWN)),
    "a billion laughs": (billion_laughs, "laughs.xml", {HARDLY, *REFUSED_OR_UNKNOWN}),
    "HTML 50,000 levels deep": (lambda: b"<ul><li>" * 50_000 + b"bottom", "deep.html", {HARDLY}),
    "text that is mostly NUL": (lambda: b"\0" * MIB + b"text", "nul.txt", set(REFUSED_OR_UNKNOWN)),
}


@pytest.mark.timeout(90)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", GENERATED)
async def test_a_trap_costs_one_document_and_no_more_than_its_limits(sandbox: Sandbox, name: str) -> None:
    make, filename, expected = GENERATED[name]
    await meets(sandbox, make(), filename, expected, TIMELY)


LINES: Final = [f"{number}. The pump starts when the pressure in the second vessel falls below" for number in range(45)]


@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_long_pdf_leaves_page_by_page_in_flat_memory(sandbox: Sandbox) -> None:
    """The first chunks of 400 pages are out before a quarter of the work is done, and no page is kept."""
    long = small_pdf.written(*[small_pdf.lines(*LINES)] * 400)
    async with sandbox.extract(ExtractionJob(long)) as stream:
        child = psutil.Process(stream.child_pid)
        before = _worked(child)
        await anext(stream)
        at_first, memory = _worked(child), child.memory_info().rss
        async for batch in stream:
            assert batch.chunks
        assert stream.outcome.characters > 400 * 45 * 60
        assert at_first - before < (_worked(child) - before) / 4
        assert child.memory_info().rss - memory < 24 * MIB


def _worked(child: psutil.Process) -> float:
    times = child.cpu_times()
    return times.user + times.system


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_child_does_not_grow_with_the_pdfs_it_has_read(tmp_path: Path) -> None:
    """Good, damaged and empty ones in turn: whatever is opened is closed."""
    good = [small_pdf.written(*[small_pdf.lines(*LINES)] * pages) for pages in (1, 5, 9)]
    documents = [*good, good[0][: len(good[0]) // 2], small_pdf.drawn(b""), b"%PDF-1.7\n"]
    async with Sandbox(save_small_tokenizer(tmp_path), SandboxOptions(spares=0, max_jobs_per_child=2_000)) as sandbox:
        child = psutil.Process(await _read_by(sandbox, good[0]))
        sizes = []
        for _ in range(34):
            for content in documents:
                await outcome(sandbox, content, "some.pdf")
            sizes.append(child.memory_info().rss)
        assert await _read_by(sandbox, good[0]) == child.pid
    assert sizes[-1] - sizes[4] < 4 * MIB


async def _read_by(sandbox: Sandbox, content: bytes) -> int:
    async with sandbox.extract(ExtractionJob(content)) as stream:
        async for _ in stream:
            pass
        return stream.child_pid
