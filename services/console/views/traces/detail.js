// All that is known of one span, beside the waterfall.

import { h, replace } from "../../lib/dom.js";
import { duration } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { colourOf, shortName } from "./names.js";
import { failed, millis } from "./rows.js";

/** Return `{node, show(row), selected()}`; `closed(row)` is called when it goes, `select(row)` to go to another span. */
export function detail(rows, { begin }, traceId, { closed, select }) {
  const known = new Map(rows.map((row) => [row.span.span_id, row]));
  const node = h("aside", { class: "card span-detail", hidden: true, "aria-label": "Span", onkeydown: (event) => event.key === "Escape" && close() });
  let shown = null;

  function close() {
    const row = shown;
    shown = null;
    node.hidden = true;
    closed(row);
  }

  function show(row, { focus = true } = {}) {
    shown = row;
    node.hidden = false;
    const heading = h("h2", { tabindex: "-1" }, shortName(row.span.name));
    replace(node,
      h("div", { class: "row detail-head" }, h("span", { class: "swatch", style: { background: colourOf(row.span.service) } }), h("div", { class: "grow" }, heading), h("button", { class: "quiet icon-only", "aria-label": "Close", onclick: close }, icon("close"))),
      facts(basics(row, begin)),
      section("Attributes", Object.keys(row.span.attributes).length && facts(row.span.attributes)),
      section("Events", row.span.events.map((event) => happened(event, row.start))),
      section("Links", row.span.links.map((link) => linked(link))));
    if (focus) heading.focus({ preventScroll: false });
  }

  function linked({ trace_id: other, span_id: spanId, attributes }) {
    const here = other === traceId && known.get(spanId);
    return h("div", { class: "item" },
      here ? h("button", { class: "link", onclick: () => select(here) }, `${here.span.service}: ${shortName(here.span.name)}`)
        : h("a", { href: `#/traces/${encodeURIComponent(other)}?span=${encodeURIComponent(spanId)}`, class: "mono" }, other),
      facts(attributes));
  }

  return { node, show, selected: () => shown?.span.span_id ?? null };
}

function basics(row, begin) {
  const { span } = row;
  return {
    service: span.service, replica: span.instance, took: duration(span.duration_ms), ...(row.waited > 0 && { waited: duration(row.waited) }),
    began: `${duration(row.start - begin)} into the trace`, at: span.start, status: failed(row) ? "failed" : span.status, kind: span.kind, span: span.span_id,
  };
}

function section(title, found) {
  return found && found.length !== 0 && [h("h3", {}, title), found];
}

function happened(event, start) {
  return h("div", { class: "item" }, h("strong", {}, event.name), h("span", { class: "small soft" }, ` after ${duration(Math.max(millis(event.time) - start, 0))}`), facts(event.attributes));
}

/** Names are long and have no spaces: they may break behind a dot. */
function breakable(name) {
  return name.split(/(?<=[._])/).flatMap((part) => [part, h("wbr")]);
}

function facts(found) {
  const entries = Object.entries(found).filter(([, value]) => value !== null && value !== undefined);
  return entries.length > 0 && h("dl", { class: "facts small" }, entries.map(([name, value]) => [h("dt", {}, breakable(name)), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]));
}
