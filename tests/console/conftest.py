"""A real browser in front of a real platform. What the page writes to its console as an error fails the test."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.console.browsing import VIEWPORT, chromium, opened_page
from tests.platform_process import RunningPlatform, rag, running_platform
from tests.scripted_llm import Reply, ScriptedLlm, scripted_llm

# The machine may do other things beside.
PATIENCE_MS = 15_000
MAX_WAITING_PER_CALLER = 4
TRACE_LINK = "https://tracing.example/trace/{trace_id}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of a module; while it lasts no other event loop may run in this thread."""
    program = chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # As root, in a container say, Chromium cannot make its own sandbox; it shows pages of ours only.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A running platform that tests share; each uses documents and collections of its own."""
    data: Path = tmp_path_factory.mktemp("platform")
    with running_platform(data, RAG_GATEWAY_TRACE_LINK=TRACE_LINK) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A running platform that wants keys; each of its tenants begins without documents."""
    with running_platform(tmp_path_factory.mktemp("guarded"), RAG_AUTH="keys") as running:
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


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedLlm]:
    """The language model of the platform that talks."""
    with scripted_llm() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def talking_platform(tmp_path_factory: pytest.TempPathFactory, scripted: ScriptedLlm) -> Iterator[RunningPlatform]:
    """A running platform whose answers a test writes; it wants keys."""
    settings = {
        "RAG_AUTH": "keys",
        "RAG_LLM_BASE_URL": scripted.url,
        # An answer may wait for what a test looks at meanwhile.
        "RAG_LLM_IDLE_SECONDS": "50",
        "RAG_GATEWAY_MAX_WAITING_PER_CALLER": str(MAX_WAITING_PER_CALLER),
    }
    with running_platform(tmp_path_factory.mktemp("talking"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def key_desk(talking_platform: RunningPlatform) -> Iterator[httpx.Client]:
    """An operator of the platform that talks, who makes keys."""
    data = str(talking_platform.data)
    made = rag("keys", "create", "--tenant", "default", "--scopes", "admin", "--data", data, "--json")
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}
    with httpx.Client(base_url=talking_platform.url, timeout=90, headers=headers) as client:
        yield client


@pytest.fixture
def key(key_desk: httpx.Client) -> str:
    """The key of a tenant that has nothing yet, at the platform that talks."""
    body = {"tenant": f"t-{uuid.uuid4().hex[:12]}", "scopes": ["ingest", "query"]}
    made = key_desk.post("/v1/admin/keys", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


@pytest.fixture
def llm(scripted: ScriptedLlm) -> Iterator[ScriptedLlm]:
    """The language model, without a script of an earlier test."""
    scripted.script.clear()
    scripted.requests.clear()
    scripted.default = lambda _request: Reply(text="NO_ANSWER")
    yield scripted
    assert not scripted.script, "the language model was not asked as often as the test has answers"


@pytest.fixture
def talking_api(talking_platform: RunningPlatform, key: str) -> Iterator[httpx.Client]:
    """A client of the platform that talks, with the key."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=talking_platform.url, timeout=90, headers=headers) as client:
        yield client
