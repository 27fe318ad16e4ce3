"""Asking: answers that come while they are written, their sources, conversations, and what people say of them."""

import re
from collections.abc import Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.console.asking import BUILT, OPENED, ask, bring, ended, held, new_talk, sign_in
from tests.console.browsing import PHONE, VIEWPORT, opened_page
from tests.platform_process import RunningPlatform, wait_until
from tests.scripted_llm import Reply, ScriptedLlm

ANSWER = "Greta Holm built the lighthouse of Lindby [1]. The harbour of Lindby opened in 1887 [1]."
WHO = "Who built the lighthouse of Lindby?"
SERIOUS = {"serious", "critical"}


@pytest.fixture
def page(browser: Browser, talking_platform: RunningPlatform, key: str) -> Iterator[Page]:
    permissions = ["clipboard-read", "clipboard-write"]
    with opened_page(browser, talking_platform.url, viewport=VIEWPORT, permissions=permissions) as found:
        sign_in(found, key)
        yield found


def test_an_answer_streams_and_its_markers_open_the_passage(
    page: Page, talking_api: httpx.Client, llm: ScriptedLlm
) -> None:
    document = bring(talking_api, uri="https://lindby.example/handbook")
    reply, go_on = held(ANSWER, after=9)
    llm.script.append(reply)
    new_talk(page, document["collection"])
    turn = ask(page, WHO)

    expect(turn.get_by_text("Greta Holm built the lighthouse of Lindby")).to_be_visible()
    expect(turn.get_by_role("status")).to_have_text("Writing")
    expect(turn.get_by_text("Looked at")).to_be_visible()
    marker = turn.get_by_role("button", name="Source 1")
    marker.click()
    panel = page.get_by_role("dialog")
    expect(panel).to_contain_text("Not told yet")
    expect(turn).not_to_contain_text("1887")
    go_on.set()

    expect(panel.locator("mark")).to_have_text(BUILT)
    expect(panel.get_by_role("heading", name="Handbook of Lindby")).to_be_visible()
    expect(panel.get_by_label("Cited passage")).to_contain_text("Handbook \u203a History")
    expect(panel).to_contain_text("The lamp is checked every Monday.")
    expect(panel.get_by_role("link", name="Original")).to_have_attribute("href", "https://lindby.example/handbook")
    whole = panel.get_by_role("link", name="Open the whole document").get_attribute("href")
    assert whole is not None
    assert whole.startswith(f"#/documents/{document['id']}?chunk=")

    ended(turn)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    markers = turn.locator(".prose").get_by_role("button")
    expect(markers).to_have_text(["1", "2"])
    markers.nth(1).press("Enter")
    expect(panel.locator("mark")).to_have_text(OPENED)
    page.keyboard.press("Escape")
    expect(markers.nth(1)).to_be_focused()

    turn.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied as Markdown")).to_be_visible()
    source = "[Handbook of Lindby](<https://lindby.example/handbook>), Handbook \u203a History"
    assert page.evaluate("navigator.clipboard.readText()").splitlines() == [
        f"**{WHO}**",
        "",
        "Greta Holm built the lighthouse of Lindby [1]. The harbour of Lindby opened in 1887 [2].",
        "",
        "Sources:",
        "",
        f"- [1] {source}: “{BUILT}”",
        f"- [2] {source}: “{OPENED}”",
    ]

    page.get_by_role("link", name="New conversation").click()
    again = ended(ask(page, WHO))
    expect(again.get_by_text("cached")).to_be_visible()
    expect(again.get_by_role("link", name="Trace")).to_have_attribute("href", re.compile(r"#/traces/[0-9a-f]{32}"))


def test_the_steps_of_the_agent_fold_out_while_it_works(
    page: Page, talking_api: httpx.Client, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    reply, go_on = held("Greta Holm built the lighthouse of Lindby [1].", after=3)
    calls = (("search_documents", {"query": "lighthouse of Lindby"}), ("calculate", {"expression": "1 / 0"}))
    llm.script.extend([Reply(tool_calls=calls), reply])
    new_talk(page, document["collection"], "Agent")
    turn = ask(page, WHO)

    expect(turn.get_by_text("Greta Holm built")).to_be_visible()
    turn.get_by_text("2 tool calls").click()
    steps = turn.get_by_role("list").first.locator("> li")
    expect(steps).to_have_count(3)
    expect(steps.nth(0)).to_contain_text("The model calls search_documents, calculate")
    search = steps.filter(has_text="search_documents lighthouse of Lindby")
    search.locator("summary").click()
    expect(search).to_contain_text('"query": "lighthouse of Lindby"')
    expect(search).to_contain_text("from Handbook of Lindby")
    expect(search.locator(".step-time")).to_have_text(re.compile(r"\d m?s$"))
    expect(steps.filter(has_text="1 / 0").get_by_text("failed", exact=True)).to_be_visible()
    go_on.set()

    ended(turn)
    expect(search).to_contain_text('"query": "lighthouse of Lindby"')
    expect(turn.get_by_role("button", name="Source 1: Handbook of Lindby")).to_be_visible()


def test_a_conversation_goes_on_is_listed_read_again_rated_and_deleted(
    page: Page, talking_api: httpx.Client, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    llm.script.append(Reply(text="Greta Holm built the lighthouse of Lindby [1]."))
    new_talk(page, document["collection"])
    first = "Who built the lighthouse of Lindby, then?"
    ended(ask(page, first))
    talk_id = page.url.rpartition("/")[2]
    llm.script.extend([Reply(text="When did the harbour of Lindby open?"), Reply(text="It opened in 1887 [1].")])
    second = ended(ask(page, "And when did the harbour open?"))
    second.get_by_text("Looked at").click()
    expect(second).to_contain_text("Understood as: When did the harbour of Lindby open?")
    turns = talking_api.get(f"/v1/conversations/{talk_id}").json()["turns"]
    assert [turn["answered"] for turn in turns] == [True, True]

    second.get_by_role("button", name="Bad answer").click()
    second.get_by_label("What was wrong?").fill("The month is missing.")
    second.get_by_role("button", name="Send the comment").click()
    expect(second.get_by_label("What was wrong?")).to_be_hidden()

    def said() -> tuple[str | None, str | None]:
        last = talking_api.get(f"/v1/conversations/{talk_id}").json()["turns"][-1]
        return last["rating"], last["comment"]

    wait_until(lambda: said() == ("down", "The month is missing."), "the feedback is recorded")

    page.reload()
    expect(page.get_by_role("article")).to_have_count(2)
    second = page.get_by_role("article").nth(1)
    expect(second.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    second.get_by_role("button", name="Source 1").click()
    expect(page.get_by_role("dialog").locator("mark")).to_have_text(OPENED)
    page.keyboard.press("Escape")

    page.get_by_role("link", name="New conversation").click()
    expect(page.get_by_role("article")).to_have_count(0)
    listed = page.get_by_role("complementary", name="Conversations").get_by_role("listitem").first
    expect(listed).to_contain_text(first)
    expect(listed).to_contain_text("2 questions")
    listed.get_by_role("link").click()
    expect(page.get_by_role("article")).to_have_count(2)
    listed.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("What would you like to know?")).to_be_visible()
    expect(page.locator(f'a[href$="{talk_id}"]')).to_have_count(0)
    assert talking_api.get(f"/v1/conversations/{talk_id}").status_code == 404


def test_an_answer_that_is_stopped_stays_and_says_so(page: Page, talking_api: httpx.Client, llm: ScriptedLlm) -> None:
    document = bring(talking_api)
    reply, go_on = held("Greta Holm built the lighthouse of Lindby [1], and more.", after=3)
    llm.script.append(reply)
    new_talk(page, document["collection"])
    turn = ask(page, WHO)
    expect(turn.get_by_text("Greta Holm built")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/v1/query")):
        page.get_by_role("button", name="Stop").click()
    expect(turn).to_contain_text("You stopped this answer")
    expect(turn.get_by_text("Greta Holm built")).to_be_visible()
    expect(turn.get_by_role("button", name="Good answer")).to_have_count(0)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    go_on.set()
    assert page.evaluate("Object.keys(sessionStorage)") == ["rag.key"]
    llm.script.append(Reply(text="In 1887 [1]."))
    expect(ended(ask(page, "When did the harbour of Lindby open?"))).to_contain_text("In 1887")
    expect(turn).not_to_contain_text("and more")


def test_a_reload_in_the_middle_of_an_answer_loses_and_repeats_nothing(
    page: Page, talking_api: httpx.Client, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    reply, go_on = held(ANSWER, after=5)
    llm.script.append(reply)
    new_talk(page, document["collection"])
    expect(ask(page, WHO).locator(".prose")).to_have_text("Greta Holm built the lighthouse")
    for place in ("the same", "another view and back"):
        if place == "the same":
            page.reload()
        else:
            page.get_by_role("link", name="Documents").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Documents")
            page.get_by_role("navigation").get_by_role("link", name="Ask", exact=True).click()
        expect(page.get_by_role("article", name=WHO).locator(".prose")).to_have_text("Greta Holm built the lighthouse")
    go_on.set()
    turn = ended(page.get_by_role("article", name=WHO))
    expect(turn.locator(".prose")).to_have_text(ANSWER.replace("[1]. The", "1. The").replace("[1].", "2."))
    assert page.url.rpartition("/")[2] != "ask"
    assert len(llm.requests) == 1


def test_an_answer_that_there_is_none_shows_the_nearest_passages(
    page: Page, talking_api: httpx.Client, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    new_talk(page, document["collection"])
    turn = ended(ask(page, "How many people visited the lighthouse of Lindby?"))
    expect(turn).to_contain_text("No passage answers this")
    nearest = turn.get_by_role("button", name="Handbook of Lindby").first
    expect(nearest).to_contain_text("Greta Holm")
    nearest.click()
    expect(page.get_by_role("dialog").get_by_label("Cited passage")).to_contain_text(BUILT)


def test_an_empty_installation_is_offered_something_to_ask_about(page: Page) -> None:
    page.goto("/")
    expect(page.locator(".welcome")).to_contain_text("documents")
    expect(page.locator(".welcome")).not_to_contain_text("What would you like to know?")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [VIEWPORT, PHONE], ids=["wide", "phone"])
def test_an_answer_keeps_nobody_out(
    browser: Browser,
    talking_platform: RunningPlatform,
    talking_api: httpx.Client,
    key: str,
    llm: ScriptedLlm,
    scheme: str,
    viewport: dict[str, int],
) -> None:
    document = bring(talking_api)
    calls = (("search_documents", {"query": "lighthouse"}), ("read_document", {"document_id": "none"}))
    llm.script.extend([Reply(tool_calls=calls), Reply(text=f"{ANSWER}\n\n- `code` and [a link](https://x.example)")])
    with opened_page(browser, talking_platform.url, viewport=viewport, color_scheme=scheme) as page:
        sign_in(page, key)
        new_talk(page, document["collection"], "Agent")
        turn = ended(ask(page, WHO))
        turn.get_by_text("2 tool calls").click()
        turn.locator(".step summary").last.click()
        turn.get_by_role("button", name="Good answer").click()
        expect(turn.get_by_label("What was good?")).to_be_focused()
        check(page)
        turn.get_by_role("button", name="Source 1").first.click()
        expect(page.get_by_role("dialog").locator("mark")).to_be_visible()
        check(page)
        page.keyboard.press("Escape")
        if viewport == PHONE:
            page.get_by_role("button", name="Conversations").click()
            expect(page.get_by_role("dialog").get_by_role("listitem").first).to_contain_text("just now")
            check(page)


def check(page: Page) -> None:
    found = [issue for issue in Axe().run(page).response["violations"] if issue["impact"] in SERIOUS]
    assert not found, [(issue["id"], issue["nodes"][0]["html"]) for issue in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"
