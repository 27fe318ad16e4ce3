"""Adding documents in the console: chosen, dropped, followed to their end; what becomes of those that can't be read."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.console.browsing import VIEWPORT, opened_page
from tests.console.filing import HOSTILE, add, bring, drop, into, line, new_name, open_list, payload, row
from tests.integration.test_hostile_documents import word_bomb
from tests.platform_process import RunningPlatform

pytestmark = pytest.mark.console

SLOW_MS = 60_000


def documents(api: httpx.Client, collection: str) -> dict[str, dict[str, Any]]:
    """Return the documents of a collection by title."""
    items = api.get("/v1/documents", params={"collection": collection, "limit": 500}).json()["items"]
    return {item["title"]: item for item in items}


def test_files_are_followed_to_their_end_and_a_bad_one_holds_up_nothing(page: Page, api: httpx.Client) -> None:
    name = new_name()
    open_list(page)
    into(page, name)
    add(
        page,
        payload("water.txt", f"Water boils at 100 degrees in {name}."),
        payload("empty.txt", ""),
        payload("broken.pdf", f"%PDF-1.7\nnothing of {name}", "application/pdf"),
        payload("bomb.docx", word_bomb()),
        payload("ice.md", f"# Ice\n\nIce melts at 0 degrees in {name}."),
        payload("same.txt", f"Water boils at 100 degrees in {name}."),
    )
    expect(line(page, "empty.txt")).to_contain_text("The file is empty.")
    expect(line(page, "ice.md")).to_contain_text("Indexed", timeout=SLOW_MS)
    expect(line(page, "broken.pdf")).to_contain_text("The file is damaged, or is not what its name says. Open it in")
    expect(line(page, "bomb.docx")).to_contain_text("It is too large, or unpacks to far more than its size.")
    expect(line(page, "water.txt")).to_contain_text("the same content as same.txt: they are one document")
    expect(page.get_by_role("heading", name="6 files: 3 indexed, 2 failed, 1 not sent")).to_be_visible()
    expect(row(page, "broken.pdf")).to_contain_text("Open it in its own program, save it again")
    found = documents(api, name)
    assert {title: item["status"] for title, item in found.items()} == {
        "water.txt": "indexed",
        "broken.pdf": "failed",
        "bomb.docx": "failed",
        "ice.md": "indexed",
    }
    expect(page.get_by_role("navigation", name="Collections").get_by_role("link", name=name)).to_contain_text(
        "2 failed"
    )
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_role("region", name="Added files")).to_be_hidden()


def test_a_folder_is_added_with_its_paths_and_without_what_is_hidden(
    page: Page, api: httpx.Client, tmp_path: Path
) -> None:
    name = new_name()
    folder = tmp_path / "handbook"
    (folder / "travel" / ".cache").mkdir(parents=True)
    (folder / "travel" / "trains.txt").write_text(f"Trains come before planes in {name}.")
    (folder / "index.txt").write_text(f"This is the handbook of {name}.")
    (folder / "travel" / ".cache" / "x.txt").write_text("hidden")
    (folder / ".DS_Store").write_text("hidden")
    (tmp_path / "loose.txt").write_text(f"A loose leaf of {name}.")
    open_list(page)
    into(page, name)
    drop(page, [folder, tmp_path / "loose.txt"])
    expect(page.get_by_text("2 hidden files left out.")).to_be_visible()
    expect(page.get_by_role("heading", name="3 files: 3 indexed")).to_be_visible(timeout=SLOW_MS)
    paths = {title: item["metadata"].get("path") for title, item in documents(api, name).items()}
    assert paths == {"trains.txt": "handbook/travel/trains.txt", "index.txt": "handbook/index.txt", "loose.txt": None}
    expect(row(page, "trains.txt")).to_contain_text("in handbook/travel")

    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_label("Folder to add").set_input_files(folder)
    expect(line(page, "handbook/travel/trains.txt")).to_contain_text("Indexed", timeout=SLOW_MS)
    assert len(documents(api, name)) == 3, "the same files again are the same documents"


def test_names_are_text_whatever_they_look_like(page: Page, api: httpx.Client) -> None:
    name = new_name()
    title = HOSTILE
    metadata = {"path": f"{HOSTILE}/x", "<b onclick=alert(1)>": HOSTILE}
    bring(
        api,
        {"id": f"{name}{HOSTILE}", "title": title, "text": HOSTILE, "metadata": metadata, "uri": "javascript:alert(1)"},
        collection=name,
    )
    open_list(page, collection=name)
    expect(row(page, title)).to_contain_text(f"in {HOSTILE}")
    add(page, payload(f"{HOSTILE.replace('/', '')}.txt", name))
    expect(line(page, "onerror")).to_contain_text("Indexed", timeout=SLOW_MS)
    row(page, title).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.get_by_text("Details").click()
    expect(page.get_by_role("definition").filter(has_text="javascript:alert(1)")).to_be_visible()
    expect(page.get_by_role("link", name="javascript")).to_have_count(0)
    expect(page.get_by_role("region", name="Text")).to_contain_text(HOSTILE)
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert page.evaluate("typeof hacked") == "undefined"


def test_many_files_go_in_batches_that_fit_and_a_break_of_the_line_doubles_nothing(
    browser: Browser, platform: RunningPlatform, api: httpx.Client
) -> None:
    name = new_name()
    keys: list[str] = []

    def break_the_first(route: Route) -> None:
        """Let the gateway have the request, and the page no answer."""
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            route.continue_()
            return
        assert route.fetch().status == 202
        route.abort()

    with opened_page(browser, platform.url, viewport=VIEWPORT, expected=["net::ERR_FAILED"]) as page:
        page.route("**/v1/documents", break_the_first)
        open_list(page)
        into(page, name)
        add(page, *(payload(f"file-{number}.txt", f"The number of {name} is {number}.") for number in range(90)))
        expect(
            page.get_by_text("The connection to the gateway broke. Sending goes on by itself in 1 s.")
        ).to_be_visible()
        expect(page.get_by_role("heading", name="90 files: 90 indexed")).to_be_visible(timeout=SLOW_MS)
    assert sorted(map(keys.count, set(keys))) == [1, 1, 2], "three batches, one of them repeated under its key"
    revisions = {item["revision"] for item in documents(api, name).values()}
    assert len(revisions) == 90
    accepted = max(revisions) - min(revisions) + 1
    assert accepted == 90, "the repeated batch was accepted once"


def problem(status: int, code: str, detail: str, **fields: Any) -> dict[str, Any]:
    body = {
        "title": "",
        "status": status,
        "code": code,
        "detail": detail,
        "type": "about:blank",
        "trace_id": "0",
        **fields,
    }
    return {"status": status, "json": body, "content_type": "application/problem+json"}


def test_refusals_are_told_in_words_and_cost_only_the_file_they_are_about(
    browser: Browser, platform: RunningPlatform, api: httpx.Client
) -> None:
    name = new_name()
    answers = [
        {**problem(429, "rate_limited", "the limit of 10 requests is spent"), "headers": {"Retry-After": "1"}},
        problem(503, "overloaded", "the queue is full"),
        problem(422, "invalid_request", "must not hold control characters", field="files.1.filename"),
    ]

    def refuse(route: Route) -> None:
        if answers:
            route.fulfill(**answers.pop(0))
        else:
            route.continue_()

    with opened_page(browser, platform.url, viewport=VIEWPORT, expected=["status of 4", "status of 503"]) as page:
        page.route("**/v1/documents", refuse)
        open_list(page)
        into(page, name)
        add(page, *(payload(f"{letter}.txt", f"The letter of {name} is {letter}.") for letter in "abc"))
        expect(
            page.get_by_text("Too many requests: the limit of 10 requests is spent. Sending goes on")
        ).to_be_visible()
        expect(page.get_by_text("Not available at the moment: the queue is full. Sending goes on")).to_be_visible()
        expect(line(page, "b.txt")).to_contain_text("Must not hold control characters.")
        expect(page.get_by_role("heading", name="3 files: 2 indexed, 1 not sent")).to_be_visible(timeout=SLOW_MS)
        assert sorted(documents(api, name)) == ["a.txt", "c.txt"]

        answers.append(problem(403, "forbidden", "the key lacks the scope ingest"))
        add(page, payload("d.txt", f"The letter of {name} is d."))
        expect(line(page, "d.txt")).to_contain_text("This key may not do that: the key lacks the scope ingest.")
        page.get_by_role("button", name="Try again").click()
        expect(line(page, "d.txt")).to_contain_text("Indexed", timeout=SLOW_MS)


def test_a_file_over_the_limit_is_refused_at_once_and_a_wrong_name_of_a_collection_too(page: Page) -> None:
    page.route(
        "**/v1/me",
        lambda route: route.fulfill(
            json={**(me := route.fetch().json()), "limits": {**me["limits"], "document_bytes": 10}}
        ),
    )
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    open_list(page)
    add(page, payload("large.txt", "eleven bytes"))
    expect(line(page, "large.txt")).to_contain_text("The file has 12 B; one file may have 10 B. Split it")
    into(page, "no such name")
    add(page, payload("small.txt", "small"))
    assert page.get_by_label("into the collection").evaluate("input => input.validity.patternMismatch")
    expect(line(page, "small.txt")).to_have_count(0)
    assert sent == []


def test_sending_goes_on_while_other_views_are_looked_at_and_can_be_stopped(page: Page, api: httpx.Client) -> None:
    name = new_name()
    held: list[Route] = []
    page.route("**/v1/documents", lambda route: held.append(route))
    open_list(page)
    into(page, name)
    with page.expect_request("**/v1/documents"):
        add(page, *(payload(f"f{number}.txt", f"File {number} of {name}.") for number in range(130)))
    expect(page.get_by_role("heading", name="Adding 130 files")).to_be_visible()
    views = page.get_by_role("navigation", name="Views")
    views.get_by_role("link", name="Traces").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Traces")
    assert len(held) == 2, "two requests at once"
    with page.expect_request("**/v1/documents"):
        for route in (held.pop(0), held.pop(0)):
            route.continue_()
    views.get_by_role("link", name="Documents").click()
    page.get_by_role("button", name="Stop sending").click()
    expect(page.get_by_role("heading", name="130 files: 80 indexed, 50 stopped")).to_be_visible(timeout=SLOW_MS)
    assert len(documents(api, name)) == 80


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_becomes_of_files_can_be_read_by_everybody(
    browser: Browser, platform: RunningPlatform, scheme: str
) -> None:
    with opened_page(browser, platform.url, viewport=VIEWPORT, color_scheme=scheme) as page:
        open_list(page)
        name = new_name()
        into(page, name)
        add(page, payload("broken.pdf", f"%PDF-1.7\n{name}", "application/pdf"), payload("empty.txt", ""))
        expect(line(page, "broken.pdf")).to_contain_text("Failed", timeout=SLOW_MS)
        serious = [one for one in Axe().run(page).response["violations"] if one["impact"] in {"serious", "critical"}]
        assert not serious, [(one["id"], one["nodes"][0]["html"]) for one in serious]
