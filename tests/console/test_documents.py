"""The documents in the console: found, opened, deleted with a way back, replaced."""

import re
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.console.browsing import PHONE, VIEWPORT, opened_page
from tests.console.filing import bring, found_in, new_name, open_list, payload, row
from tests.platform_process import RunningPlatform, wait_until

pytestmark = pytest.mark.console

SLOW_MS = 60_000
UNDO_MS = 6_000
BROKEN = {"content": "JVBERi0xLjcKbm90aGluZw==", "media_type": "application/pdf", "text": None}
LIGHTHOUSE = "The lighthouse of Lindby was built by Greta Holm."


def titled(prefix: str, *titles: str) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}-{title}", "title": title} for title in titles]


def links(page: Page) -> Any:
    return page.get_by_role("table").locator("td .name")


def test_documents_are_found_by_title_status_and_collection_and_page_by_page(page: Page, api: httpx.Client) -> None:
    one, other = new_name(), new_name()
    bring(api, *titled(one, *(f"Chapter {number:03}" for number in range(60))), collection=one)
    bring(api, *titled(other, "Straße nach Łódź", "50%_off"), collection=other)
    bring(api, {"id": f"{other}-broken", "title": "Broken", **BROKEN}, collection=other)
    open_list(page)
    collections = page.get_by_role("navigation", name="Collections")
    collections.get_by_role("link", name=one).click()
    expect(links(page)).to_have_count(50)
    expect(page.get_by_text("60 documents, 60 chunks")).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(links(page)).to_have_count(60)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    search = page.get_by_role("searchbox", name="Search titles")
    search.fill("chapter 00")
    expect(links(page)).to_have_count(10)
    row(page, "Chapter 003").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Chapter 003")
    page.go_back()
    expect(links(page)).to_have_count(10)
    expect(search).to_have_value("chapter 00")

    collections.get_by_role("link", name=other).click()
    expect(page.get_by_role("heading", name="No document matches")).to_be_visible()
    search.fill("ŁÓDŹ")
    expect(links(page)).to_have_text(["Straße nach Łódź"])
    search.fill("%_")
    expect(links(page)).to_have_text(["50%_off"])
    search.fill("")
    page.get_by_label("Status").select_option("Failed")
    expect(links(page)).to_have_text(["Broken"])
    expect(page).to_have_url(re.compile(f"collection={other}&status=failed$"))
    page.reload()
    expect(links(page)).to_have_text(["Broken"])


def test_what_changes_is_shown_as_it_changes(page: Page, api: httpx.Client) -> None:
    """Nothing is clicked and nothing is reloaded."""
    name = new_name()
    bring(api, *titled(name, "First"), collection=name)
    page.clock.install()
    open_list(page, collection=name)
    expect(row(page, "First")).to_contain_text("Indexed")
    bring(api, *titled(name, "Second"), collection=name)
    api.delete(f"/v1/documents/{name}-First")
    page.clock.fast_forward(11_000)
    expect(links(page)).to_have_text(["Second"])
    expect(page.get_by_text("1 document, 1 chunk", exact=True)).to_be_visible()


def test_a_cited_passage_is_shown_in_its_document(page: Page, api: httpx.Client) -> None:
    name = new_name()
    filler = "\n\n".join(
        f"## Part {number}\n\n" + f"Sentence {number} of the book is long and dull. " * 15 for number in range(16)
    )
    text = f"# Book\n\n{filler}\n\n## History\n\n{LIGHTHOUSE} It is white.\n\n## End\n\nThe end."
    bring(api, {"id": f"a/{name}?&", "title": "Book", "text": text, "media_type": "text/markdown"}, collection=name)
    hit = api.post("/v1/search", json={"query": "who built the lighthouse", "collection": name}).json()["hits"][0]
    assert LIGHTHOUSE in hit["text"]
    quote = "Lindby%20was%20built"
    page.goto(f"/#/documents/a%2F{name}%3F%26?chunk={hit['chunk_id']}&quote={quote}")
    cited = page.get_by_role("region", name="Cited passage")
    expect(cited.get_by_text("Lindby was built")).to_be_in_viewport()
    expect(cited.locator("mark")).to_have_text("Lindby was built")
    expect(cited).to_be_focused()
    expect(cited).to_contain_text("Book \u203a History")
    expect(page.get_by_text("The end.")).to_be_visible()

    page.route("**/chunks?*", lambda route: route.continue_(url=f"{route.request.url}&max_bytes=3000"))
    page.reload()
    expect(cited.get_by_text("Lindby was built")).to_be_in_viewport()
    expect(page.get_by_text("Part 1", exact=True)).to_have_count(0)
    for _ in range(16):
        before = page.get_by_role("button", name="Show what comes before")
        if not before.count():
            break
        count = page.locator(".passage").count()
        before.click()
        expect(page.locator(".passage").nth(count)).to_be_attached()
    expect(page.get_by_text("Sentence 0 of the book").first).to_be_attached()
    ordinals = page.locator(".passage").evaluate_all("all => all.map(one => Number(one.id.slice(6)))")
    assert ordinals == list(range(len(ordinals))), "in the order of the document, none of them twice"

    page.goto(f"/#/documents/a%2F{name}%3F%26?chunk=never-was")
    expect(page.get_by_text("The passage that was cited is not in this version")).to_be_visible()


def test_a_delete_is_held_back_undone_and_then_sent(page: Page, api: httpx.Client) -> None:
    name = new_name()
    bring(api, *titled(name, "Keep", "Change my mind", "Go", "Go too"), collection=name)
    deletes: list[str] = []
    page.on("request", lambda request: deletes.append(request.url) if request.method == "DELETE" else None)
    page.clock.install()
    open_list(page, collection=name)
    row(page, "Change my mind").get_by_role("button", name="Delete Change my mind").click()
    expect(row(page, "Change my mind")).to_have_class("leaving")
    expect(page.get_by_text("Deleted “Change my mind”.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "Change my mind")).not_to_have_class("leaving")
    page.clock.fast_forward(UNDO_MS + 1_000)
    assert deletes == []

    page.get_by_role("checkbox", name="Select Go", exact=True).check()
    page.get_by_role("checkbox", name="Select Go too").check()
    expect(page.get_by_text("2 documents selected")).to_be_visible()
    page.get_by_role("group", name="Selected documents").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted 2 documents.")).to_be_visible()
    assert sorted(found_in(api, name)) == sorted(f"{name}-{one}" for one in ("Keep", "Change my mind", "Go", "Go too"))
    page.clock.fast_forward(UNDO_MS + 1_000)
    expect(row(page, "Go")).to_have_count(0)
    expect(row(page, "Go too")).to_have_count(0)
    expect(links(page)).to_have_count(2)
    assert found_in(api, name) == sorted([f"{name}-Change my mind", f"{name}-Keep"])
    assert len(deletes) == 2
    page.reload()
    expect(links(page)).to_have_count(2)


def test_leaving_the_view_or_the_page_sends_what_is_held_back(page: Page, api: httpx.Client) -> None:
    """The time for an undo never ends here."""
    name = new_name()
    bring(api, *titled(name, "View", "Page", "Stay"), collection=name)
    page.add_init_script(f"""
        const wait = setTimeout;
        window.setTimeout = (work, ms, ...rest) => (ms === {UNDO_MS} ? 0 : wait(work, ms, ...rest));
    """)
    open_list(page, collection=name)
    row(page, "View").get_by_role("button").click()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Traces").click()
    wait_until(lambda: f"{name}-View" not in found_in(api, name), "leaving the view sent the delete")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)

    open_list(page, collection=name)
    row(page, "Page").get_by_role("button").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.goto("about:blank")
    wait_until(lambda: found_in(api, name) == [f"{name}-Stay"], "leaving the page sent the delete")


def test_a_delete_that_fails_brings_the_document_back_and_says_why(
    browser: Browser, platform: RunningPlatform, api: httpx.Client
) -> None:
    name = new_name()
    bring(api, *titled(name, "Stubborn"), collection=name)

    def refuse(route: Route) -> None:
        body = {"code": "dependency_unavailable", "detail": "the broker is away", "status": 503}
        route.fulfill(status=503, json=body) if route.request.method == "DELETE" else route.continue_()

    with opened_page(browser, platform.url, viewport=VIEWPORT, expected=["status of 503"]) as page:
        page.clock.install()
        page.route("**/v1/documents/**", refuse)
        open_list(page, collection=name)
        row(page, "Stubborn").get_by_role("button").click()
        page.clock.fast_forward(UNDO_MS + 1_000)
        expect(
            page.get_by_text("1 document could not be deleted. Not available at the moment: the broker is away.")
        ).to_be_visible()
        expect(row(page, "Stubborn")).not_to_have_class("leaving")


def test_a_collection_is_deleted_once_its_name_is_typed(page: Page, api: httpx.Client) -> None:
    name = new_name()
    bring(api, *titled(name, "One", "Two"), collection=name)
    open_list(page, collection=name)
    page.get_by_role("button", name="Delete the collection").click()
    dialog = page.get_by_role("dialog", name=f"Delete the collection “{name}”?")
    expect(dialog).to_contain_text("2 documents will be gone for good")
    button = dialog.get_by_role("button", name="Delete everything in it")
    dialog.get_by_role("textbox").fill(name[:-1])
    expect(button).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert len(found_in(api, name)) == 2

    page.get_by_role("button", name="Delete the collection").click()
    dialog.get_by_role("textbox").fill(name)
    button.click()
    expect(page.get_by_text(f"Deleted the collection “{name}”.")).to_be_visible()
    expect(row(page, "One")).to_have_count(0)
    expect(page.get_by_role("navigation", name="Collections").get_by_role("link", name=name)).to_have_count(0)
    assert found_in(api, name) == []


def test_a_document_is_replaced_and_a_bad_file_does_not_take_the_good_text_away(page: Page, api: httpx.Client) -> None:
    name = new_name()
    own = {
        "id": name,
        "title": "Notes",
        "text": "The old text.",
        "metadata": {"team": "infra"},
        "uri": "https://example.org",
    }
    [before] = bring(api, own, collection=name)
    page.goto(f"/#/documents/{name}")
    text = page.get_by_role("region", name="Text")
    expect(text).to_contain_text("The old text.")
    replace = page.get_by_label("File that replaces it")
    replace.set_input_files(payload("new.md", "# New\n\nThe new text."))
    expect(text).to_contain_text("The new text.", timeout=SLOW_MS)
    expect(text).not_to_contain_text("The old text.")
    view = api.get(f"/v1/documents/{name}").json()
    assert view["revision"] > before["revision"]
    assert {key: view[key] for key in ("title", "metadata", "uri", "collection")} == {
        "title": "Notes",
        "metadata": {"team": "infra"},
        "uri": "https://example.org",
        "collection": name,
    }

    replace.set_input_files(payload("bad.pdf", b"%PDF-1.7\nnothing", "application/pdf"))
    expect(page.get_by_text("The file is damaged, or is not what its name says.")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text("Searches and answers go on with the last version")).to_be_visible()
    expect(text).to_contain_text("The new text.")
    failed = api.get(f"/v1/documents/{name}").json()["revision"]
    page.get_by_role("button", name="Try the same file again").click()
    wait_until(lambda: api.get(f"/v1/documents/{name}").json()["revision"] > failed, "its dead letter was sent again")
    expect(page.get_by_role("button", name="Try the same file again")).to_be_enabled(timeout=SLOW_MS)
    expect(page.get_by_text("The file is damaged, or is not what its name says.")).to_be_visible()


def test_a_document_is_deleted_from_its_page_and_shown_as_deleted(page: Page, api: httpx.Client) -> None:
    name = new_name()
    bring(api, *titled(name, "Gone"), collection=name)
    page.goto(f"/#/documents/{name}-Gone")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Documents")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Traces").click()
    wait_until(lambda: found_in(api, name) == [], "the delete was sent")
    page.goto(f"/#/documents/{name}-Gone")
    expect(page.get_by_role("heading", level=1)).to_have_text("This document was deleted")
    expect(page.get_by_role("link", name="All documents")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [VIEWPORT, PHONE], ids=["wide", "phone"])
def test_list_and_document_keep_nobody_out(
    browser: Browser, platform: RunningPlatform, api: httpx.Client, scheme: str, viewport: dict[str, int]
) -> None:
    name = new_name()
    long = {"id": f"{name}-long", "title": "Averylongnamewithoutanyblank" * 12, "metadata": {"path": "x/" * 90}}
    bring(api, *titled(name, "One", "Two"), long, {"id": f"{name}-b", "title": "Broken", **BROKEN}, collection=name)
    with opened_page(browser, platform.url, viewport=viewport, color_scheme=scheme) as page:
        open_list(page, collection=name)
        page.get_by_role("checkbox", name="Select One").check()
        expect(page.get_by_text("1 document selected")).to_be_visible()
        for _ in range(2):
            found = [
                issue for issue in Axe().run(page).response["violations"] if issue["impact"] in {"serious", "critical"}
            ]
            assert not found, [(issue["id"], issue["nodes"][0]["html"]) for issue in found]
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.goto(f"/#/documents/{name}-b")
            expect(page.get_by_text("The file is damaged")).to_be_visible()
