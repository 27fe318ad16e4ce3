"""A real browser in front of a real platform. What the page writes to its console as an error fails the test."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.console.browsing import VIEWPORT, chromium, opened_page
from tests.platform_process import RunningPlatform, running_platform

# The machine may do other things beside.
PATIENCE_MS = 15_000
TRACE_LINK = "https://tracing.example/trace/{trace_id}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium for all tests of this process."""
    program = chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # As root, in a container say, Chromium cannot make its own sandbox; it shows pages of ours only.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A running platform that tests share; each uses documents and collections of its own."""
    data: Path = tmp_path_factory.mktemp("platform")
    with running_platform(data, RAG_GATEWAY_TRACE_LINK=TRACE_LINK) as running:
        yield running


@pytest.fixture
def api(platform: RunningPlatform) -> Iterator[httpx.Client]:
    """A client of the shared platform's gateway."""
    with httpx.Client(base_url=platform.url, timeout=90) as client:
        yield client


@pytest.fixture
def page(browser: Browser, platform: RunningPlatform) -> Iterator[Page]:
    """A fresh page whose addresses are those of the shared platform."""
    with opened_page(browser, platform.url, viewport=VIEWPORT) as found:
        yield found
