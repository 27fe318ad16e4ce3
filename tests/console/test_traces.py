"""Traces in the console: listed, and each as a waterfall that says where the time went."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from playwright.sync_api import Browser, Locator, Page, expect

from services.cli.waterfall import extent, rows
from tests.console.browsing import PHONE, VIEWPORT, opened_page
from tests.console.conftest import TRACE_LINK
from tests.platform_process import RunningPlatform, wait_until
from tests.unit.persistence.exported_spans import exported, message, trace_id

pytestmark = [pytest.mark.console, pytest.mark.timeout(240)]

QUEUED_AT = "rag.message.queued_at"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
SERIOUS = {"serious", "critical"}


@dataclass(frozen=True)
class Traced:
    """A document and a question about it, each with its whole trace."""

    document: dict[str, Any]
    question: dict[str, Any]
    broken: str


@pytest.fixture(scope="module")
def traced(platform: RunningPlatform) -> Traced:
    with httpx.Client(base_url=platform.url, timeout=90) as api:
        document = sent(api, {"id": "traced-mole", "text": "The mole of Traceville is 640 metres long."}, "indexed")
        broken = sent(api, {"id": "traced-bad", "content": "AAAA", "media_type": "application/pdf"}, "failed")
        asked = api.post("/v1/query", json={"question": "How long is the mole?", "collection": "traced"})
        question = whole_trace(api, asked.headers["X-Trace-Id"], "process rag.v1.facts.query.answered")
        return Traced(whole_trace(api, document, "process rag.v1.facts.chunks.indexed"), question, broken)


def sent(api: httpx.Client, document: dict[str, Any], status: str) -> str:
    body = {"documents": [{"collection": "traced", **document}]}
    reply = api.post("/v1/documents", params={"wait_s": 60}, json=body)
    assert [found["status"] for found in reply.json()["documents"]] == [status], reply.text
    return reply.headers["X-Trace-Id"]


def whole_trace(api: httpx.Client, trace: str, name: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        shown: dict[str, Any] = api.get(f"/v1/traces/{trace}").json()
        names = {span["name"] for span in shown.get("spans", [])}
        return shown if name in names and shown["complete"] else None

    whole: dict[str, Any] = wait_until(found, f"trace {trace} is complete")
    return whole


def export(platform: RunningPlatform, *spans: Span, service: str = "parser") -> None:
    """Hand in spans as any exporter may."""
    body = message(*spans, service=service).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    reply = httpx.post(f"{platform.ready['health']['persistence']}/v1/traces", content=body, headers=headers)
    assert reply.status_code == 200, reply.text


def ours(trace: int, span: int, **fields: Any) -> Span:
    return exported(trace, span, tenant="default", **fields)


def spans(page: Page) -> Locator:
    return page.get_by_role("treeitem")


def open_trace(page: Page, trace: str) -> None:
    page.goto(f"/#/traces/{trace}")
    expect(spans(page).first).to_be_visible()


def drawn(page: Page, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows as the console makes them of these spans."""
    script = """async (spans) => {
      const { rowsOf } = await import("/console/views/traces/rows.js");
      const told = ({ span, depth, waited, orphan }) => ({ id: span.span_id, depth, waited, orphan });
      return rowsOf(spans).map(told);
    }"""
    made: list[dict[str, Any]] = page.evaluate(script, list(found))
    return made


def in_words(page: Page, found: Sequence[Mapping[str, Any]]) -> str:
    script = """async (spans) => {
      const { rowsOf, extent } = await import("/console/views/traces/rows.js");
      const { inWords } = await import("/console/views/traces/summary.js");
      const rows = rowsOf(spans);
      return inWords(rows, extent(rows));
    }"""
    return str(page.evaluate(script, list(found)))


def span(name: str, service: str, at: float, took: float, **fields: Any) -> dict[str, Any]:
    """Return a span as the API tells it; times in milliseconds."""
    start = datetime.fromisoformat("2026-01-01T10:00:00+00:00") + timedelta(milliseconds=at)
    queued = fields.pop("queued", None)
    waits = {} if queued is None else {QUEUED_AT: (start + timedelta(milliseconds=queued - at)).isoformat()}
    values = {"parent_span_id": None, "kind": "internal", "status": "unset", "events": [], "links": [], **fields}
    attributes = {**waits, **values.pop("attributes", {})}
    own = {"span_id": name, "name": name, "service": service, "start": start.isoformat(), "duration_ms": took}
    return {**own, "attributes": attributes, **values}


def test_a_document_is_drawn_span_by_span_with_its_waiting(page: Page, traced: Traced) -> None:
    trace = traced.document
    open_trace(page, trace["trace_id"])
    expected = rows(trace["spans"])
    expect(spans(page)).to_have_count(len(expected))
    order = page.eval_on_selector_all("[role=treeitem]", "nodes => nodes.map(node => node.dataset.span)")
    assert order == [row.span["span_id"] for row in expected]

    begin, total = extent(expected)
    waiting = max(expected, key=lambda row: row.waited)
    node = page.locator(f"[data-span='{waiting.span['span_id']}']")
    track = node.locator(".track").bounding_box()
    bar = node.locator(".bar.waited").bounding_box()
    assert track is not None
    assert bar is not None
    assert bar["width"] == pytest.approx(max(track["width"] * (waiting.waited / total), 2), abs=1.5)
    left = track["width"] * ((waiting.start - waiting.waited - begin) / total)
    assert bar["x"] - track["x"] == pytest.approx(left, abs=1.5)
    assert not page.locator(f"[data-span='{expected[0].span['span_id']}'] .bar.waited").count()
    summary = page.locator(".in-words")
    expect(summary).to_contain_text(re.compile(r"^(Answered after|[\d.]+ m?s in all)"))
    expect(page.get_by_role("link", name="Tracing system")).to_have_attribute(
        "href", TRACE_LINK.replace("{trace_id}", trace["trace_id"])
    )


def test_spans_wait_and_hang_together_as_the_command_line_says(page: Page, traced: Traced) -> None:
    """INVARIANT: `rag trace` and the console tell the same of the same trace."""
    page.goto("/#/traces")
    loop = [
        span("a", "agent", 5, 10, parent_span_id="b"),
        span("b", "agent", 6, 10, parent_span_id="a"),
        span("c", "agent", 7, 10, parent_span_id="gone", attributes={QUEUED_AT: "never"}),
        span("d", "agent", 8, 10, queued=9),
        span("e", "agent", 9, 10, parent_span_id="e", queued=0.25),
    ]
    for found in (traced.document["spans"], traced.question["spans"], loop):
        expected = [
            {"id": row.span["span_id"], "depth": row.depth, "orphan": row.orphan, "waited": row.waited}
            for row in rows(found)
        ]
        made = drawn(page, found)
        assert [row["id"] for row in made] == [row["id"] for row in expected]
        for one, other in zip(made, expected, strict=True):
            assert (one["depth"], one["orphan"]) == (other["depth"], other["orphan"]), one["id"]
            # The digits of a time since 1970 in a double.
            assert one["waited"] == pytest.approx(other["waited"] / timedelta(milliseconds=1), abs=0.001)


def test_a_trace_says_in_words_where_its_time_went(page: Page) -> None:
    page.goto("/#/traces")
    request = span("POST /v1/documents", "gateway", 0, 1_000, kind="server")
    parsing = span("parse", "parser", 805, 95, kind="consumer", parent_span_id="POST /v1/documents", queued=5)
    embedding = span("embed", "embedder", 910, 80, kind="consumer", parent_span_id="parse", queued=880)
    # It waits while another one works for the same document: the work is what took the time.
    recording = span("record", "persistence", 985, 10, kind="consumer", parent_span_id="parse", queued=850)
    everything = [request, parsing, embedding, recording]

    assert in_words(page, everything) == (
        "1.0 s in all: 800 ms waiting for the parser, 95 ms parsing, 75 ms embedding, 30 ms on other things."
    )
    early = [{**request, "duration_ms": 20.0}, *everything[1:]]
    assert in_words(page, early).startswith(
        "Answered after 20 ms: 15 ms waiting for the parser, 5.0 ms at the gateway. Then 975 ms behind the answer: "
        "785 ms waiting for the parser"
    )


def test_a_question_is_looked_into_with_the_keyboard(page: Page, traced: Traced) -> None:
    trace = traced.question
    open_trace(page, trace["trace_id"])
    expect(page.get_by_role("heading", name="Question")).to_be_visible()
    root, below = spans(page).nth(0), spans(page).nth(1)
    first, second = rows(trace["spans"])[:2]
    root.focus()
    page.keyboard.press("ArrowDown")
    expect(below).to_be_focused()
    page.keyboard.press("Enter")
    detail = page.get_by_role("complementary", name="Span")
    expect(detail.get_by_role("heading", level=2)).to_be_focused()
    for name, value in second.span["attributes"].items():
        expect(detail.locator("dt", has_text=re.compile(f"^{re.escape(name)}$")).locator("+ dd")).to_have_text(
            str(value)
        )
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    expect(below).to_be_focused()

    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(root).to_have_attribute("aria-expanded", "false")
    expect(below).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(below).to_be_visible()
    root.click()
    expect(detail).to_contain_text(first.span["span_id"])
    detail.get_by_role("button", name="Close").click()
    expect(detail).to_be_hidden()


def test_the_list_shows_what_was_slow_what_failed_and_what_has_an_id(page: Page, traced: Traced) -> None:
    page.goto("/#/traces")
    failed = page.locator(f"tr[data-trace='{traced.broken}']")
    good = page.locator(f"tr[data-trace='{traced.document['trace_id']}']")
    expect(failed).to_contain_text("failed")
    expect(good).to_contain_text("Documents sent")
    expect(good).not_to_contain_text("failed")
    page.get_by_label("Only failed").check()
    expect(good).to_have_count(0)
    expect(failed).to_be_visible()
    page.get_by_label("Only failed").uncheck()
    page.get_by_label("Went through").select_option("agent")
    expect(page.locator(f"tr[data-trace='{traced.question['trace_id']}']")).to_be_visible()
    expect(good).to_have_count(0)
    took = next(
        item["duration_ms"]
        for item in httpx.get(f"{page.url.split('#')[0]}v1/traces", params={"limit": 500}).json()["items"]
        if item["trace_id"] == traced.document["trace_id"]
    )
    page.goto(f"/#/traces?min_ms={took - 1:.0f}")
    expect(good).to_be_visible()
    page.goto(f"/#/traces?min_ms={took + 1:.0f}")
    expect(page.get_by_label("Took at least")).to_have_value(f"{took + 1:.0f}")
    expect(good).to_have_count(0)
    page.goto("/#/traces?service=nowhere")
    expect(page.get_by_role("heading", name="No such traces")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    page.get_by_label("Trace id").fill("no id")
    page.get_by_role("button", name="Open").click()
    assert "32 hexadecimal digits" in page.get_by_label("Trace id").evaluate("field => field.validationMessage")
    page.get_by_label("Trace id").fill(f"00-{traced.document['trace_id'].upper()}-00f067aa0ba902b7-01")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", name="Documents sent")).to_be_visible()


def test_older_traces_come_page_by_page(page: Page, platform: RunningPlatform) -> None:
    export(platform, *(ours(0xBEEF00 + place, 1, at_ms=place) for place in range(51)), service="paged")
    page.goto("/#/traces?service=paged")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Show older ones").click()
    expect(page.locator("tbody tr")).to_have_count(51)
    expect(page.locator("tbody tr").last.get_by_role("link")).to_be_focused()
    expect(page.get_by_role("button", name="Show older ones")).to_have_count(0)


def test_a_trace_is_looked_at_again_until_it_is_complete(page: Page, platform: RunningPlatform) -> None:
    export(platform, ours(0xC0FFEE, 2, parent=1, name="the child", at_ms=5))
    open_trace(page, trace_id(0xC0FFEE))
    expect(page.get_by_text("More spans may come.")).to_be_visible()
    spans(page).first.click()
    export(platform, ours(0xC0FFEE, 1, name="the parent", took_ms=20))
    expect(spans(page)).to_have_count(2)
    expect(spans(page).nth(1)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("complementary", name="Span")).to_contain_text("the child")
    expect(page.get_by_text("More spans may come.")).to_be_hidden()


def test_what_others_write_into_spans_is_text(page: Page, platform: RunningPlatform) -> None:
    hostile = ours(0xBAD, 2, parent=1, name=HOSTILE, failed=True, attributes={HOSTILE: HOSTILE, "error.type": HOSTILE})
    event = hostile.events.add(name=HOSTILE, time_unix_nano=hostile.start_time_unix_nano + 2_000_000)
    event.attributes.add(key="why").value.string_value = HOSTILE
    hostile.links.add(trace_id=(0xC0FFEE).to_bytes(16, "big"), span_id=(1).to_bytes(8, "big"))
    hostile.links.add(trace_id=(0xBAD).to_bytes(16, "big"), span_id=(1).to_bytes(8, "big"))
    export(platform, ours(0xBAD, 1, name="batch", took_ms=50), hostile, service=HOSTILE)
    open_trace(page, trace_id(0xBAD))
    expect(spans(page).nth(1)).to_contain_text("2 links")
    page.get_by_role("button", name=HOSTILE).click()
    detail = page.get_by_role("complementary", name="Span")
    expect(detail.get_by_role("heading", level=2)).to_have_text(HOSTILE)
    expect(detail.locator("dd", has_text=HOSTILE)).to_have_count(4)
    expect(detail).to_contain_text("after 2.0 ms")
    expect(detail.get_by_role("link", name=trace_id(0xC0FFEE))).to_have_attribute(
        "href", f"#/traces/{trace_id(0xC0FFEE)}?span={1:016x}"
    )
    assert page.locator("main img, main script").count() == 0
    detail.get_by_role("button", name="batch").click()
    expect(detail.get_by_role("heading", level=2)).to_have_text("batch")
    page.goto("/#/traces?error=true")
    expect(page.locator(f"tr[data-trace='{trace_id(0xBAD)}']")).to_contain_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0
    expect(page).to_have_title("Traces · RAG console")


def test_a_trace_of_more_spans_than_one_reply_holds_stays_usable(
    page: Page, api: httpx.Client, platform: RunningPlatform
) -> None:
    many = 2_500
    for begin in range(1, many + 1, 500):
        batch = range(begin, begin + 500)
        export(platform, *(ours(0xFEED, n, parent=1 if n > 1 else None, at_ms=n) for n in batch))

    def kept() -> dict[str, Any] | None:
        shown: dict[str, Any] = api.get(f"/v1/traces/{trace_id(0xFEED)}").json()
        return shown if shown.get("span_count") == many else None

    held = wait_until(kept, "every span is kept")["spans"]
    assert 300 < len(held) < many
    last = held[-1]["span_id"]
    page.goto(f"/#/traces/{trace_id(0xFEED)}?span={last}")
    # The one that was asked for is beyond those that are drawn at first.
    expect(page.locator(f"[data-span='{last}']")).to_be_visible()
    expect(page.get_by_role("complementary", name="Span")).to_contain_text(last)
    expect(page.get_by_text(f"Only the first {len(held):,} of 2,500 spans can be shown.")).to_be_visible()
    page.goto(f"/#/traces/{trace_id(0xFEED)}")
    expect(spans(page)).to_have_count(300)
    page.get_by_role("button", name="Show all").click()
    expect(spans(page)).to_have_count(len(held))
    spans(page).first.focus()
    page.keyboard.press("ArrowLeft")
    expect(spans(page)).to_have_count(1)


def test_a_trace_that_is_not_there_is_said_to_be_missing(browser: Browser, platform: RunningPlatform) -> None:
    with opened_page(browser, platform.url, expected=["404"]) as page:
        page.goto(f"/#/traces/{'0' * 31}7")
        expect(page.get_by_role("heading", name="No such trace")).to_be_visible()
        page.goto(f"/#/traces/{HOSTILE}")
        expect(page.get_by_text("A trace id has 32 hexadecimal digits")).to_contain_text("owned")
        assert page.locator("main img").count() == 0


LOOKS = pytest.mark.parametrize(("scheme", "viewport"), [("light", VIEWPORT), ("dark", PHONE)], ids=["light", "dark"])


@LOOKS
def test_nothing_keeps_people_out(
    browser: Browser, platform: RunningPlatform, traced: Traced, scheme: str, viewport: dict[str, int]
) -> None:
    with opened_page(browser, platform.url, viewport=viewport, color_scheme=scheme) as page:
        page.goto("/#/traces")
        expect(page.locator("tbody tr").first).to_be_visible()
        assert_open_to_all(page)
        open_trace(page, traced.broken)
        spans(page).nth(2).click()
        expect(page.get_by_role("complementary", name="Span")).to_be_visible()
        assert_open_to_all(page)


def assert_open_to_all(page: Page) -> None:
    found = [issue for issue in Axe().run(page).response["violations"] if issue["impact"] in SERIOUS]
    assert not found, [(issue["id"], issue["nodes"][0]["html"]) for issue in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
