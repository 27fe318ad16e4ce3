"""Asking when something is in the way: broken lines, killed processes, limits, hostile documents and answers."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.asking import BUILT, ask, bring, ended, held, new_talk, sign_in
from tests.console.browsing import VIEWPORT, opened_page
from tests.console.conftest import MAX_WAITING_PER_CALLER
from tests.platform_process import RunningPlatform, wait_until
from tests.scripted_llm import Reply, ScriptedLlm
from tests.tcp_proxy import proxy_in_thread

pytestmark = pytest.mark.console

WHO = "Who built the lighthouse of Lindby?"
WORDS = "Greta Holm built the lighthouse of Lindby, and Lindby opened its harbour in 1887 [1]."
SHOWN = WORDS.replace("[1]", "1")
WATCH = """() => {
    const prose = document.querySelector(".turn .prose");
    window.seen = [];
    new MutationObserver(() => window.seen.push(prose.textContent)).observe(prose, { childList: true, subtree: true });
}"""
BROKEN_LINE = ("net::ERR", "Failed to load resource")


@contextmanager
def console(browser: Browser, url: str, key: str, *expected: str) -> Iterator[Page]:
    with opened_page(browser, url, viewport=VIEWPORT, expected=expected) as page:
        sign_in(page, key)
        yield page


def process_of(platform: RunningPlatform, word: str) -> psutil.Process:
    found = [one for one in platform.processes() if any(word in part for part in one.cmdline())]
    assert len(found) == 1, found
    return found[0]


def test_a_line_that_breaks_in_the_middle_of_an_answer_loses_and_repeats_nothing(
    browser: Browser, talking_platform: RunningPlatform, talking_api: httpx.Client, key: str, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    reply, go_on = held(WORDS, after=5, gap=0.05)
    llm.script.append(reply)
    gateway = httpx.URL(talking_platform.url)
    assert gateway.port is not None
    with proxy_in_thread(gateway.port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        with console(browser, address, key, *BROKEN_LINE) as page:
            new_talk(page, document["collection"])
            turn = ask(page, WHO)
            expect(turn.locator(".prose")).to_have_text("Greta Holm built the lighthouse")
            proxy.go_away()
            expect(turn.get_by_role("status")).to_have_text("The connection broke. Trying again")
            page.evaluate(WATCH)
            with page.expect_response(lambda response: response.url.endswith("/events")):
                proxy.come_back()
            go_on.set()
            expect(ended(turn).locator(".prose")).to_have_text(SHOWN)
            # The whole text at the end takes the place of what came before, so that is looked at as well.
            seen = page.evaluate("window.seen")
            assert seen
            assert [text for text in seen if not SHOWN.startswith(text.strip())] == []
    assert len(llm.requests) == 1


@pytest.mark.extended
@pytest.mark.timeout(150)
def test_an_agent_that_is_killed_while_it_writes_is_followed_by_one_that_goes_on(
    browser: Browser, talking_platform: RunningPlatform, talking_api: httpx.Client, key: str, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    first, _ = held(WORDS, after=5)
    llm.script.extend([first, Reply(text=WORDS)])
    with console(browser, talking_platform.url, key) as page:
        new_talk(page, document["collection"])
        turn = ask(page, WHO)
        expect(turn.locator(".prose")).to_have_text("Greta Holm built the lighthouse")
        process_of(talking_platform, "services.agent.app").kill()
        # The question is handed out again when its first delivery has not been heard of for 30 s.
        expect(turn.locator(".prose")).to_have_text(SHOWN, timeout=90_000)
        ended(turn)


def test_a_broker_that_is_away_is_told_in_words_and_the_question_can_be_asked_again(
    browser: Browser, talking_platform: RunningPlatform, talking_api: httpx.Client, key: str, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    llm.script.append(Reply(text=WORDS))
    broker = process_of(talking_platform, "nats-server")
    with console(browser, talking_platform.url, key, "status of 503") as page:
        new_talk(page, document["collection"])
        broker.send_signal(signal.SIGSTOP)
        try:
            turn = ask(page, WHO)
            expect(turn.get_by_role("alert")).to_contain_text("Not available at the moment", timeout=30_000)
        finally:
            broker.send_signal(signal.SIGCONT)
        wait_until(lambda: talking_api.get("/v1/collections").status_code == 200, "the broker is back")
        turn.get_by_role("button", name="Try again").click()
        expect(ended(turn).locator(".prose")).to_have_text(SHOWN)
        expect(turn.get_by_role("alert")).to_have_count(0)


def test_too_many_questions_at_a_time_are_told_in_words(
    browser: Browser, talking_platform: RunningPlatform, talking_api: httpx.Client, key: str, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    reply, go_on = held(WORDS, after=1)
    llm.default = lambda _request: reply
    with console(browser, talking_platform.url, key, "status of 429") as page:
        new_talk(page, document["collection"])
        with ThreadPoolExecutor(MAX_WAITING_PER_CALLER) as pool:
            try:
                asked = [
                    pool.submit(talking_api.post, "/v1/query", json={"question": f"{WHO} {n}"})
                    for n in range(MAX_WAITING_PER_CALLER)
                ]
                wait_until(lambda: len(llm.requests) == MAX_WAITING_PER_CALLER, "as many questions wait as may")
                turn = ask(page, WHO)
                expect(turn.get_by_role("alert")).to_contain_text("Too many requests")
            finally:
                go_on.set()
            assert [one.result().status_code for one in asked] == [200] * MAX_WAITING_PER_CALLER
        turn.get_by_role("button", name="Try again").click()
        expect(ended(turn).locator(".prose")).to_have_text(SHOWN)


def test_a_source_that_has_changed_or_gone_says_so_and_shows_what_was_quoted(
    browser: Browser, talking_platform: RunningPlatform, talking_api: httpx.Client, key: str, llm: ScriptedLlm
) -> None:
    document = bring(talking_api)
    llm.script.append(Reply(text="Greta Holm built the lighthouse of Lindby [1]."))
    with console(browser, talking_platform.url, key) as page:
        new_talk(page, document["collection"])
        turn = ended(ask(page, WHO))
        reply = talking_api.post(
            "/v1/documents", params={"wait_s": 60}, json={"documents": [{**document, "text": "Closed for good."}]}
        )
        assert reply.json()["documents"][0]["status"] == "indexed"
        turn.locator(".prose").get_by_role("button").click()
        panel = page.get_by_role("dialog")
        expect(panel).to_contain_text("The document has changed since this was written")
        expect(panel.get_by_role("blockquote")).to_have_text(BUILT)
        page.keyboard.press("Escape")
        assert talking_api.delete(f"/v1/documents/{document['id']}").status_code == 202
        turn.locator(".prose").get_by_role("button").click()
        expect(panel).to_contain_text("The document is not there any more")


HOSTILE = (
    '<script>window.canary=1</script><img src=x onerror="window.canary=1"><svg onload="window.canary=1"></svg>'
    '<iframe srcdoc="<script>parent.canary=1</script>"></iframe><a href="javascript:window.canary=1">link</a>'
    "[mark](javascript:window.canary=1) ![pic](data:image/svg+xml;base64,PHN2Zy8+) ![pic](https://x.example/p.png)"
    "<style>body{display:none}</style><form action=/x><button formaction=javascript:1>b</button></form>"
    '<div id="main" style="position:fixed;inset:0">cover</div><math><mi xlink:href="javascript:window.canary=1">'
)


def test_hostile_documents_questions_tools_and_answers_are_text(
    browser: Browser, talking_platform: RunningPlatform, talking_api: httpx.Client, key: str, llm: ScriptedLlm
) -> None:
    quote = f"Greta {HOSTILE} built the lighthouse of Lindby."
    document = bring(
        talking_api,
        f"{quote}\n\nMore {HOSTILE}",
        title=f"Title {HOSTILE}"[:500],
        uri="javascript:window.canary=1",
        metadata={"note": HOSTILE},
    )
    calls = (
        ("search_documents", {"query": f"lighthouse of Lindby {HOSTILE[:90]}"}),
        (f"tool{HOSTILE}", {HOSTILE: HOSTILE}),
    )
    llm.script.extend(
        [
            Reply(tool_calls=calls),
            Reply(text=f"Greta built the lighthouse of Lindby [1]. {HOSTILE} [1](javascript:window.canary=1)"),
        ]
    )
    with console(browser, talking_platform.url, key) as page:
        strangers: list[str] = []
        page.on("request", lambda request: strangers.append(request.url) if "x.example" in request.url else None)
        new_talk(page, document["collection"], "Agent")
        question = f"Who built the lighthouse? {HOSTILE}"
        turn = page.get_by_role("article").last
        page.get_by_role("textbox", name="Question").fill(question)
        page.get_by_role("textbox", name="Question").press("Enter")
        ended(turn)
        expect(turn.get_by_role("heading", level=2)).to_have_text(question)
        turn.get_by_text("tool call").click()
        for step in turn.locator(".step summary").all():
            step.click()
        expect(turn).to_contain_text("<script>window.canary=1</script>")
        answer = turn.locator(".prose")
        expect(answer).to_contain_text('<img src=x onerror="window.canary=1"><svg onload="window.canary=1"></svg>')
        expect(answer).to_contain_text("<style>body{display:none}</style>")
        answer.get_by_role("button").first.click()
        panel = page.get_by_role("dialog")
        expect(panel.get_by_label("Cited passage")).to_contain_text("built the lighthouse of Lindby.")
        expect(panel.get_by_role("link", name="Original")).to_have_count(0)
        page.reload()
        expect(page.get_by_role("article")).to_have_count(1)
        expect(page.get_by_role("complementary", name="Conversations")).to_contain_text(
            "Who built the lighthouse? <script>"
        )

        assert page.evaluate("typeof window.canary") == "undefined"
        made = ".turn :is(script, img, iframe, style, math, form, [onerror], [onload], [href^=javascript], [style])"
        assert page.locator(made).count() == 0
        assert page.locator("[id=main]").count() == 1
        assert strangers == []
