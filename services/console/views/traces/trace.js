// One trace: in words, as a waterfall, and span by span. It is asked again until all of it is there.

import { get } from "../../lib/api.js";
import { problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { count, counted, duration, moment } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { poll } from "../../lib/polling.js";
import { detail } from "./detail.js";
import { plainName, shortName } from "./names.js";
import { extent, failed, remarks, rowsOf } from "./rows.js";
import { inWords } from "./summary.js";
import { waterfall } from "./waterfall.js";

// Spans arrive about a second after their work; a long answer brings them for as long as it takes.
const EVERY_MS = 1_000;
const PATIENCE_MS = 60_000;
const MISSING_MS = 4_000;
const MOST_FAILURES = 5;
const ID = /^[0-9a-f]{32}$/;

/** Show the trace of this id; `spanId` is the span that is opened first. */
export function showTrace(place, id, spanId, caller) {
  const traceId = id.toLowerCase();
  if (!ID.test(traceId)) return void replace(place, unlike(id));
  const since = Date.now();
  const status = h("p", { class: "row soft small", role: "status" }, h("span", { class: "spinner" }), "Loading");
  const content = h("div", {});
  replace(place, h("div", { class: "row trace-head" }, h("a", { href: "#/traces", class: "back" }, "All traces"), h("span", { class: "grow" }), idOf(traceId), linkOut(caller, traceId)), status, content);
  let drawn = null;

  const polling = poll(async (signal) => {
    const trace = await look(traceId, signal, Date.now() - since < MISSING_MS);
    if (!trace) return;
    if (trace.span_count !== drawn?.count) drawn = draw(content, trace, drawn?.view, spanId);
    const more = !trace.complete && !trace.truncated && !trace.dropped;
    if (more && Date.now() - since < PATIENCE_MS) return void say(status, h("span", { class: "spinner" }), "More spans may come.");
    if (more) say(status, "Some spans may be missing.", h("button", { class: "quiet", onclick: () => showTrace(place, id, null, caller) }, "Look again"));
    else say(status);
    polling.stop();
  }, { everyMs: EVERY_MS, failed: (error) => {
    polling.stop();
    say(status);
    replace(drawn ? status : content, error.status === 404 ? missing(traceId) : problemBox(error, () => showTrace(place, id, spanId, caller)));
  } });

  return polling.stop;
}

/** Resolve to the trace, to null when it is not there and may still come. */
async function look(traceId, signal, mayCome) {
  try {
    return await get(`v1/traces/${encodeURIComponent(traceId)}`, {}, { signal });
  } catch (error) {
    if (mayCome && error.status === 404) return null;
    throw error;
  }
}

function say(status, ...words) {
  replace(status, ...words);
  status.hidden = words.length === 0;
}

function missing(traceId) {
  return h("div", { class: "empty" }, h("h2", {}, "No such trace"),
    h("p", {}, `Nothing is kept of ${traceId}: it is older than what is kept, or another tenant's. Requests that only look at health, traces or the pipeline leave none.`),
    h("a", { class: "button", href: "#/traces" }, "All traces"));
}

function unlike(id) {
  return h("div", { class: "empty" }, h("h2", {}, "No trace id"), h("p", {}, `A trace id has 32 hexadecimal digits, found ${JSON.stringify(id)}.`),
    h("a", { class: "button", href: "#/traces" }, "All traces"));
}

function idOf(traceId) {
  const copy = async () => {
    await navigator.clipboard.writeText(traceId);
    toast("The trace id is copied.");
  };
  return [h("code", { class: "small trace-id" }, traceId), navigator.clipboard && h("button", { class: "quiet icon-only", "aria-label": "Copy the trace id", onclick: copy }, icon("copy"))];
}

function linkOut({ trace_link: link }, traceId) {
  return link && h("a", { class: "button", href: link.replaceAll("{trace_id}", traceId), target: "_blank", rel: "noopener noreferrer" }, icon("external"), "Tracing system");
}

function draw(content, trace, before, spanId) {
  const rows = rowsOf(trace.spans);
  const whole = extent(rows);
  const bars = waterfall(rows, whole, { folded: before?.folded ?? new Set(), open: (row) => panel.show(row) });
  const panel = detail(rows, whole, trace.trace_id, { closed: (row) => bars.focus(row), select: (row) => bars.select(row) });
  const first = rows[0];
  replace(content,
    h("section", { class: "trace-summary" },
      h("h2", {}, plainName(first.span.name) ?? shortName(first.span.name)),
      h("p", { class: "in-words" }, inWords(rows, whole)),
      h("p", { class: "small soft" }, `${moment(first.span.start)}, ${counted(trace.span_count, "span")} of ${counted(new Set(rows.map((row) => row.span.service)).size, "service")}${longest(rows)}`),
      failures(rows, bars), cut(trace)),
    h("div", { class: "trace-body" }, bars.node, panel.node));
  const wanted = before?.selected() ?? spanId;
  const row = wanted && rows.find((one) => one.span.span_id === wanted);
  if (row) before ? bars.mark(row) : bars.select(row);
  if (before?.selected() && row) panel.show(row, { focus: false });
  return { count: trace.span_count, view: { folded: bars.folded, selected: panel.selected } };
}

function longest(rows) {
  const most = rows.reduce((found, row) => (row.waited > (found?.waited ?? 0) ? row : found), null);
  return most ? `; waited longest: ${most.span.service}, ${shortName(most.span.name)}, ${duration(most.waited)}` : "";
}

function failures(rows, bars) {
  const found = rows.filter(failed);
  if (!found.length) return null;
  return h("div", { class: "problem" }, h("strong", {}, `${counted(found.length, "span")} failed:`),
    h("ul", {}, found.slice(0, MOST_FAILURES).map((row) => h("li", {}, h("button", { class: "link", onclick: () => bars.select(row) }, `${row.span.service}: ${shortName(row.span.name)}`), remarks(row) && ` (${remarks(row)})`)),
      found.length > MOST_FAILURES && h("li", {}, `and ${count(found.length - MOST_FAILURES)} more`)));
}

function cut(trace) {
  const all = trace.span_count + trace.dropped;
  return (trace.truncated || trace.dropped > 0) && h("p", { class: "small soft" }, `Only the first ${count(trace.spans.length)} of ${count(all)} spans can be shown.`);
}
