"""Pictures of the console and of the command line, taken of a running platform, for docs/images: `make screenshots`."""

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console
from rich.text import Text

from shared.settings import PROJECT_ROOT
from tests.console.browsing import PHONE, VIEWPORT, chromium, opened_page
from tests.platform_process import RunningPlatform, rag, running_platform, wait_until
from tests.terminal import COLUMNS, rag_in_terminal

IMAGES: Final = PROJECT_ROOT / "docs" / "images"
SAMPLES: Final = PROJECT_ROOT / "services" / "console" / "samples"
PAGES: Final = ("architecture", "limits")
PATIENCE_MS: Final = 30_000
SCHEMES: Final = ("light", "dark")
QUESTION: Final = "When does a deleted document disappear from searches?"
BROKEN: Final[dict[str, Any]] = {"id": "broken-report", "content": "JVBERi0xLjcK", "filename": "report.pdf"}
_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_SPINNER: Final = re.compile("[\u2800-\u28ff]")
_CURSOR: Final = re.compile(r"\x1b\[(?:\?25[hl]|[0-9]*[AK]|2K)")


def main() -> None:
    """Take all pictures anew."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder)) as platform:
        fill(platform)
        with browser() as started:
            for scheme in SCHEMES:
                with opened_page(started, platform.url, viewport=VIEWPORT, color_scheme=scheme) as page:
                    wide(page, scheme)
            with opened_page(started, platform.url, viewport=PHONE, color_scheme="light") as page:
                narrow(page)
        # A browser beside them may have kept parts from answering in time.
        health = f"{platform.url}/health"
        wait_until(lambda: httpx.get(health, timeout=20).json()["status"] == "ok", "every part is well")
        terminal("rag-ask", platform, "ask", QUESTION)
        terminal("rag-status", platform, "status")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the Chromium of this machine; SystemExit where there is none."""
    program = chromium()
    if program is None:
        raise SystemExit("screenshots: no Chromium is installed (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


def fill(platform: RunningPlatform) -> None:
    """Load what the pictures show: a few documents, and one that cannot be read."""
    pages = [str(PROJECT_ROOT / "docs" / f"{name}.md") for name in PAGES]
    samples = sorted(map(str, SAMPLES.glob("*.txt")))
    for paths, collection in ((samples, "sample"), (pages, "docs")):
        loaded = rag("ingest", *paths, "--collection", collection, url=platform.url)
        assert loaded.returncode == 0, loaded.stderr
    httpx.post(f"{platform.url}/v1/documents?wait_s=30", json={"documents": [BROKEN]}).raise_for_status()


def wide(page: Page, scheme: str) -> None:
    """Picture every view."""
    ask(page)
    page.get_by_role("button", name="1", exact=False).first.click()
    expect(page.locator(".passage.cited")).to_be_visible()
    shoot(page, f"console-ask-{scheme}")
    for view in ("documents", "pipeline", "traces"):
        page.goto(f"/#/{view}")
        expect(page.get_by_role("heading", level=1)).to_have_text(view.capitalize())
        expect(page.locator("main table").first).to_be_visible(timeout=PATIENCE_MS)
        shoot(page, f"console-{view}-{scheme}")
    page.get_by_role("link", name=re.compile("query|Question", re.IGNORECASE)).first.click()
    expect(page.get_by_text("Answered after")).to_be_visible(timeout=PATIENCE_MS)
    shoot(page, f"console-trace-{scheme}")


def narrow(page: Page) -> None:
    """Picture an answer on a phone."""
    ask(page)
    shoot(page, "console-phone")


def ask(page: Page) -> None:
    page.goto("/#/ask")
    page.get_by_role("textbox").first.fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("Copy"))).to_be_visible(timeout=PATIENCE_MS)


def shoot(page: Page, name: str) -> None:
    """Keep what is seen, once nothing is loaded any more."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


def terminal(name: str, platform: RunningPlatform, *arguments: str) -> None:
    """Keep what a command writes in a terminal of 80 columns as a drawing."""
    with rag_in_terminal(*arguments, RAG_URL=platform.url) as running:
        written = running.read_all()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    command = " ".join(["rag", *(f'"{word}"' if " " in word else word for word in arguments)])
    console.print(Text(f"$ {command}", style="bold"))
    for line in _CURSOR.sub("", written).split("\n"):
        shown = Text.from_ansi(line.rsplit("\r", 1)[-1])
        # What is waited for is taken away again.
        if not _SPINNER.match(shown.plain):
            console.print(shown)
    drawing = _FONT.sub("", console.export_svg(title="rag", unique_id="rag"))
    (IMAGES / f"{name}.svg").write_text(drawing.replace("Fira Code", "ui-monospace"), encoding="utf-8")


if __name__ == "__main__":
    main()
