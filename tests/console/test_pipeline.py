"""The pipeline in the console, on a platform whose parts are stopped and killed: figures, the banner, dead letters."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.console.browsing import PHONE, VIEWPORT, opened_page
from tests.platform_broker import publish, put_object
from tests.platform_process import RunningPlatform, rag, running_platform, wait_until

pytestmark = [pytest.mark.console, pytest.mark.timeout(240)]

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
LETTERS = "/v1/admin/dead-letters"
SECONDS = re.compile(r"^(< 1|\d+) s$")
UNKNOWN = "\u2013"
SERIOUS = {"serious", "critical"}
# A look, three of them before anything is said, and a machine that does other things.
NOTICED_MS = 40_000
BACK_MS = 90_000
# What a browser writes by itself of a gateway that is away, and of a refusal that a test wants.
AWAY = ("ERR_CONNECTION_REFUSED", "503", "502")
REFUSED = ("409", "404")


@dataclass(frozen=True)
class Operated:
    """A platform with keys, one that may do everything and one that may ask only."""

    platform: RunningPlatform
    admin: str
    asker: str

    @property
    def api(self) -> httpx.Client:
        """Return a client that may do everything."""
        return httpx.Client(base_url=self.platform.url, timeout=90, headers={"Authorization": f"Bearer {self.admin}"})

    def pid(self, name: str) -> int:
        """Return the process that runs as `name` now."""
        return next(
            process.pid
            for process in self.platform.processes()
            if f"services.{name}.app" in " ".join(process.cmdline())
        )


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    # Nobody but a test starts again what a test has stopped.
    settings = {"RAG_AUTH": "keys", "RAG_UP_UNRESPONSIVE_SECONDS": "0"}
    with running_platform(tmp_path_factory.mktemp("operated"), **settings) as running:
        yield Operated(running, new_key(running, "ingest", "query", "admin"), new_key(running, "query"))


def new_key(platform: RunningPlatform, *scopes: str) -> str:
    made = rag("keys", "create", "--scopes", ",".join(scopes), "--data", str(platform.data), "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


@contextmanager
def signed_in(browser: Browser, operated: Operated, key: str, **options: Any) -> Iterator[Page]:
    with opened_page(browser, operated.platform.url, **{"viewport": VIEWPORT, **options}) as page:
        page.add_init_script(f"sessionStorage.setItem('rag.key', {json.dumps(key)})")
        yield page


@pytest.fixture
def page(browser: Browser, operated: Operated) -> Iterator[Page]:
    with signed_in(browser, operated, operated.admin, expected=REFUSED) as found:
        yield found


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Have processes do nothing while the block runs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def look_now(page: Page) -> None:
    """Have everything that is looked at again and again looked at now, as when somebody comes back to the tab."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def banner(page: Page) -> Any:
    return page.locator("#banner")


def stage(operated: Operated, name: str) -> dict[str, Any]:
    with operated.api as api:
        found: list[dict[str, Any]] = api.get("/v1/admin/pipeline").json()["stages"]
    return next(one for one in found if one["stage"] == name)


def cells(page: Page, name: str) -> list[str]:
    return page.locator(f"tr[data-stage='{name}'] td.number").all_inner_texts()


def letter_of(operated: Operated, document_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        with operated.api as api:
            items: list[dict[str, Any]] = api.get(LETTERS, params={"limit": 500}).json()["items"]
        return [item for item in items if item["document_id"] == document_id]

    [letter] = wait_until(found, f"the letter of {document_id} is listed")
    return dict(letter)


def assert_open_to_all(page: Page) -> None:
    found = [issue for issue in Axe().run(page).response["violations"] if issue["impact"] in SERIOUS]
    assert not found, [(issue["id"], issue["nodes"][0]["html"]) for issue in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_waits_for_a_stopped_parser_is_shown_as_the_api_tells_it(page: Page, operated: Operated) -> None:
    page.goto("/#/pipeline")
    expect(page.locator("tr[data-stage]")).to_have_count(10)
    expect(page.get_by_role("article", name="parser")).to_contain_text("1 replica")
    with stopped(operated.pid("parser")):
        with operated.api as api:
            texts = [{"id": f"waits-{number}", "text": "It waits.", "collection": "waiting"} for number in range(40)]
            assert api.post("/v1/documents", json={"documents": texts}).status_code == 202
        told = wait_until(
            lambda: (found := stage(operated, "parser"))["backlog"] + found["in_flight"] == 40 and found,
            "all of them wait for the parser",
        )
        assert told["oldest_age_s"] > 0
        waiting, in_work, again = (str(told[name]) for name in ("backlog", "in_flight", "redelivered"))
        expect(page.locator("tr[data-stage='parser'] td.number").nth(0)).to_have_text(waiting)
        assert cells(page, "parser")[:3] == [waiting, in_work, again]
        expect(page.locator("tr[data-stage='parser'] td.number").nth(4)).to_have_text(SECONDS)
        expect(page.locator("tr[data-stage='parser'] td.number").nth(5)).to_have_text("0")
        expect(page.get_by_role("group", name="Stream INGEST")).to_contain_text(f"{waiting} waiting")
        expect(page.get_by_role("article", name="parser")).to_contain_text("down")
        expect(
            page.get_by_role("img", name="parser: messages waiting, last 5 minutes: at most " + waiting)
        ).to_have_count(1)
        look_now(page)
        words = "The parser is down: new documents wait. What is indexed already can be searched and asked about."
        expect(banner(page)).to_have_text(words, timeout=NOTICED_MS)
        page.get_by_role("link", name="Documents").click()
        expect(banner(page)).to_have_text(words)
        page.get_by_role("link", name="Pipeline").click()
    expect(banner(page)).to_be_empty(timeout=NOTICED_MS)
    expect(page.locator("tr[data-stage='parser'] td.number").nth(0)).to_have_text("0", timeout=NOTICED_MS)
    expect(page.get_by_role("article", name="parser")).to_contain_text("1 replica")


def test_streams_are_shown_as_full_as_they_are(page: Page, operated: Operated) -> None:
    page.goto("/#/pipeline")
    with operated.api as api:
        found = {one["name"]: one for one in api.get("/v1/admin/pipeline").json()["streams"]}
    for name, one in found.items():
        row = page.locator(f"tr[data-stream='{name}']")
        assert row.locator("progress").evaluate("meter => meter.value") == pytest.approx(
            one["bytes"] / one["max_bytes"], abs=0.001
        )
    expect(page.locator("tr[data-stream]")).to_have_count(len(found))


def test_a_killed_part_and_a_killed_gateway_are_said_and_come_back(browser: Browser, operated: Operated) -> None:
    """INVARIANT: who looks at a page knows that it shows nothing new."""
    with signed_in(browser, operated, operated.admin, expected=AWAY) as page:
        page.goto("/#/pipeline")
        expect(page.locator("tr[data-stage]")).to_have_count(10)
        # Without the launcher nothing is started again.
        with stopped(operated.platform.process.pid):
            os.kill(operated.pid("agent"), signal.SIGKILL)
            look_now(page)
            expect(banner(page)).to_have_text(
                "The agent is down: questions can't be answered. Search and uploads work.", timeout=NOTICED_MS
            )
            expect(page.get_by_role("article", name="agent")).to_contain_text("down")
            os.kill(operated.pid("gateway"), signal.SIGKILL)
            expect(banner(page)).to_contain_text("The gateway can't be reached", timeout=NOTICED_MS)
            expect(page.get_by_role("alert")).to_contain_text("The gateway cannot be reached")
            expect(page.get_by_text("What stands below is from before.")).to_be_visible()
        wait_until(lambda: reachable(operated), "the gateway is back", seconds=60)
        look_now(page)
        expect(banner(page)).to_be_empty(timeout=BACK_MS)
        expect(page.get_by_text("What stands below is from before.")).to_be_hidden(timeout=NOTICED_MS)
        expect(page.get_by_role("article", name="agent")).to_contain_text("1 replica", timeout=NOTICED_MS)


def reachable(operated: Operated) -> bool:
    try:
        return httpx.get(f"{operated.platform.url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_dead_letter_is_read_sent_again_once_mended_and_discarded(page: Page, operated: Operated) -> None:
    page.goto("/#/pipeline/dead-letters?stage=agent")
    expect(page.get_by_role("heading", name="No such dead letters")).to_be_visible()
    document = {
        "id": HOSTILE,
        "collection": "letters",
        "object": "mended-1",
        "media_type": "text/plain",
        "title": HOSTILE,
    }
    publish(
        operated.platform, document, {"id": "unmended", "text": HOSTILE, "collection": {"no": "name"}}, b"\xff no JSON"
    )
    letter, unmended = letter_of(operated, HOSTILE), letter_of(operated, "unmended")
    page.get_by_role("link", name="Show all").click()
    row = page.locator(f"tr[data-seq='{letter['seq']}']")
    expect(row).to_contain_text(letter["reason"])
    expect(row.get_by_role("link", name=HOSTILE)).to_be_visible()
    page.get_by_label("Code").fill("object_missing")
    page.get_by_label("Code").press("Enter")
    expect(page.locator(f"tr[data-seq='{unmended['seq']}']")).to_have_count(0)
    row.get_by_role("link", name="object_missing").click()

    expect(page.locator(".letter > .reason")).to_have_text(letter["reason"])
    assert json.loads(page.get_by_label("Payload").inner_text()) == document
    expect(page.locator("dd", has_text=letter["error"])).to_be_visible()
    if letter["trace_id"]:
        expect(page.get_by_role("link", name=letter["trace_id"])).to_have_attribute(
            "href", f"#/traces/{letter['trace_id']}"
        )
    assert page.locator("main img").count() == 0
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("alert")).to_contain_text("payload")
    put_object(operated.platform, "mended-1", b"The breakwater was mended.")
    page.get_by_role("button", name="Send again").click()
    expect(page.locator("#toasts")).to_contain_text("Sent again, as revision")
    expect(page.locator(f"tr[data-seq='{letter['seq']}']")).to_have_count(0)
    with operated.api as api:
        path = f"/v1/documents/{quote(HOSTILE, safe='')}"
        wait_until(lambda: api.get(path).json().get("status") == "indexed", "the mended document is indexed")

        page.goto(f"/#/pipeline/dead-letters/{unmended['seq']}")
        page.get_by_role("button", name="Discard").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert api.get(f"{LETTERS}/{unmended['seq']}").status_code == 200
        page.get_by_role("button", name="Discard").click()
        page.get_by_role("dialog").get_by_role("button", name="Discard").click()
        expect(page.locator("#toasts")).to_contain_text("Discarded.")
        expect(page.locator("tbody tr")).not_to_have_count(0)
        expect(page.locator(f"tr[data-seq='{unmended['seq']}']")).to_have_count(0)
        assert api.get(f"{LETTERS}/{unmended['seq']}").status_code == 404
    page.locator("tr", has_text="none").get_by_role("link").first.click()
    expect(page.get_by_text("The payload is no text; this is its base64.")).to_be_visible()
    page.goto(f"/#/pipeline/dead-letters/{unmended['seq']}")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page).to_have_title("Pipeline · RAG console")


def test_all_letters_of_a_filter_come_page_by_page_and_are_sent_again(page: Page, operated: Operated) -> None:
    many = 51
    publish(operated.platform, *({"id": f"many-{number}", "text": number} for number in range(many)))

    def died() -> set[int]:
        with operated.api as api:
            items = api.get(LETTERS, params={"code": "invalid_message", "limit": 500}).json()["items"]
        return {item["seq"] for item in items if str(item["document_id"]).startswith("many-")}

    before = wait_until(lambda: len(found := died()) == many and found, "all of them died")
    page.goto("/#/pipeline/dead-letters?code=invalid_message&stage=parser")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(rows.nth(50).get_by_role("link", name="invalid_message")).to_be_focused()
    expect(page.locator(f"tr[data-seq='{min(before)}']")).to_contain_text("text: Input should be a valid string")
    page.get_by_role("button", name="Send all of these again").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Every dead letter of parser with the code invalid_message is sent again")
    dialog.get_by_role("button", name="Send again").click()
    # What is still broken dies once more: as another letter, which is not sent a second time.
    expect(page.locator("#toasts")).to_contain_text(f"{many} dead letters sent again.", timeout=NOTICED_MS)
    after = wait_until(lambda: len(found := died()) == many and found, "all of them died once more")
    assert min(after) > max(before)


def test_a_key_without_the_scope_admin_sees_what_it_may(browser: Browser, operated: Operated) -> None:
    with signed_in(browser, operated, operated.asker) as page:
        page.goto("/#/pipeline")
        expect(page.get_by_text("are shown to keys with the scope admin; this one has query.")).to_be_visible()
        expect(page.get_by_role("article", name="parser")).to_contain_text("1 replica")
        expect(page.locator("tr[data-stage]")).to_have_count(10)
        assert cells(page, "agent")[0] == "0"
        assert cells(page, "agent")[3:5] == [UNKNOWN, UNKNOWN]
        expect(page.get_by_role("heading", name="Streams")).to_have_count(0)
        page.get_by_role("link", name="Dead letters").click()
        expect(page.get_by_role("heading", name="Not for this key")).to_be_visible()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", PHONE), ("dark", VIEWPORT)], ids=["light", "dark"])
def test_nothing_keeps_people_out(browser: Browser, operated: Operated, scheme: str, viewport: dict[str, int]) -> None:
    publish(operated.platform, {"id": f"seen-{scheme}", "text": 5})
    letter = letter_of(operated, f"seen-{scheme}")
    with signed_in(browser, operated, operated.admin, viewport=viewport, color_scheme=scheme) as page:
        page.goto("/#/pipeline")
        expect(page.locator("tr[data-stage]")).to_have_count(10)
        assert_open_to_all(page)
        page.goto("/#/pipeline/dead-letters")
        expect(page.locator("tbody tr").first).to_be_visible()
        assert_open_to_all(page)
        page.goto(f"/#/pipeline/dead-letters/{letter['seq']}")
        expect(page.get_by_label("Payload")).to_be_visible()
        assert_open_to_all(page)
