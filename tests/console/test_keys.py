"""A gateway that wants keys: the console asks for one, keeps it in the tab, and says what is wrong with it."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browsing import opened_page
from tests.platform_process import RunningPlatform, rag, running_platform

REFUSED = "the server responded with a status of 401"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("guarded"), RAG_AUTH="keys") as running:
        yield running


@pytest.fixture
def page(browser: Browser, guarded: RunningPlatform) -> Iterator[Page]:
    with opened_page(browser, guarded.url, expected=[REFUSED]) as found:
        yield found


def new_key(platform: RunningPlatform, *scopes: str) -> str:
    made = rag(
        "keys", "create", "--tenant", "acme", "--scopes", ",".join(scopes), "--data", str(platform.data), "--json"
    )
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


def sign_in(page: Page, key: str) -> None:
    page.get_by_role("dialog", name="API key").get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_a_key_is_asked_for_kept_in_the_tab_alone_and_forgotten(page: Page, guarded: RunningPlatform) -> None:
    key = new_key(guarded, "ingest", "query", "admin")
    page.goto("/#/documents")
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog.get_by_label("Key", exact=True)).to_be_focused()
    sign_in(page, "rag_0000000000_wrong")
    expect(dialog).to_contain_text("The key was refused")
    sign_in(page, key)

    expect(page.get_by_role("heading", level=1)).to_have_text("Documents")
    expect(page.get_by_text("Tenant acme")).to_be_visible()
    assert page.evaluate("Object.values(sessionStorage)") == [key]
    assert key not in page.evaluate("JSON.stringify(localStorage) + document.cookie + document.body.innerHTML")
    page.reload()
    expect(page.get_by_text("Tenant acme")).to_be_visible()
    other_tab = page.context.new_page()
    other_tab.goto("/")
    expect(other_tab.get_by_role("dialog", name="API key")).to_be_visible()

    page.get_by_role("button", name="Forget the key").click()
    expect(dialog).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_who_gives_no_key_is_told_what_is_missing_and_may_try_again(page: Page, guarded: RunningPlatform) -> None:
    page.goto("/")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("The gateway wants an API key")
    page.get_by_role("button", name="Try again").click()
    sign_in(page, new_key(guarded, "query"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Ask")
