"""An empty installation: the console offers a sample, and the questions it suggests are answered from it."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.datastructures import Headers

from services.gateway.console import CONSOLE_FOLDER, Console
from tests.console.browsing import VIEWPORT, opened_page
from tests.console.key_making import new_key
from tests.platform_process import RunningPlatform

pytestmark = [pytest.mark.console, pytest.mark.timeout(180)]

SLOW_MS = 60_000
MOST_SAMPLE_BYTES = 30_000
SAMPLES = CONSOLE_FOLDER / "samples"
SAMPLE = orjson.loads((SAMPLES / "sample.json").read_bytes())


def opened_with(browser: Browser, platform: RunningPlatform, key: str) -> Iterator[Page]:
    with opened_page(browser, platform.url, viewport=VIEWPORT) as page:
        page.add_init_script(f"sessionStorage.setItem('rag.key', '{key}')")
        yield page


@pytest.fixture
def key(guarded: RunningPlatform) -> str:
    """A key of a tenant without documents."""
    return new_key(guarded, "ingest", "query", tenant="beginner")


@pytest.fixture
def page(browser: Browser, guarded: RunningPlatform, key: str) -> Iterator[Page]:
    yield from opened_with(browser, guarded, key)


@pytest.fixture
def reader(browser: Browser, guarded: RunningPlatform) -> Iterator[Page]:
    """The page of somebody of another empty tenant, who may only read."""
    yield from opened_with(browser, guarded, new_key(guarded, "query", tenant="reader"))


def test_the_sample_is_loaded_and_its_questions_are_answered_from_it(
    page: Page, guarded: RunningPlatform, key: str
) -> None:
    page.goto("/#/documents")
    page.get_by_role("button", name="Load the sample").click()
    first = page.get_by_role("button", name=SAMPLE["questions"][0])
    expect(first).to_be_focused(timeout=SLOW_MS)
    expect(page.get_by_role("row")).to_have_count(1 + len(SAMPLE["files"]))
    with httpx.Client(base_url=guarded.url, headers={"Authorization": f"Bearer {key}"}, timeout=90) as api:
        for question, (title, words) in zip(SAMPLE["questions"], ANSWERS, strict=True):
            answer = api.post("/v1/query", json={"question": question}).json()
            assert answer["answered"], question
            assert answer["citations"][0]["title"] == title
            assert words in answer["citations"][0]["quote"]

    first.click()
    address = urlsplit(urlsplit(page.url).fragment)
    assert (address.path, parse_qs(address.query)) == ("/ask", {"q": [SAMPLE["questions"][0]]})
    page.go_back()
    expect(page.get_by_role("row")).to_have_count(1 + len(SAMPLE["files"]))
    expect(page.get_by_role("button", name="Load the sample")).to_have_count(0)
    assert (
        page.evaluate("import('/console/views/documents/first_run.js').then(({firstRun}) => firstRun(() => {}))")
        is None
    )


# What each question of the sample is answered with.
ANSWERS = [
    ("When something fails", "becomes a dead letter and is shown as failed with the reason"),
    ("Updates and deletes", "at the moment the delete is confirmed"),
    ("How a document becomes searchable", "at most 400 tokens"),
]


def test_who_may_only_read_is_offered_nothing_that_would_be_refused(reader: Page) -> None:
    reader.goto("/#/documents")
    expect(reader.get_by_text("This key may read documents, but not add any.")).to_be_visible()
    expect(reader.get_by_role("button", name="Choose files")).to_have_count(0)
    expect(reader.get_by_role("button", name="Load the sample")).to_have_count(0)


def test_the_sample_is_small_and_all_of_it_is_served() -> None:
    console = Console()
    files = {path.name for path in SAMPLES.iterdir()}
    assert files == {"sample.json", *SAMPLE["files"]}
    assert all(console.answer(f"samples/{name}", Headers()).status_code == 200 for name in files)
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) <= MOST_SAMPLE_BYTES
    assert len(SAMPLE["questions"]) == len(ANSWERS) == 3
