// The bars: a tree of spans over the time of the whole trace. Hatched is the time in a queue, full the time of work.

import { h, replace } from "../../lib/dom.js";
import { count, duration } from "../../lib/format.js";
import { colourOf, shortName, wantsAnswer } from "./names.js";
import { failed, remarks } from "./rows.js";
import { answeredAfter } from "./summary.js";

// So many rows are made at once; a trace may have thousands.
const FIRST_ROWS = 300;
const DEEPEST_INDENT = 12;
// An answer that came before this share of the whole can be looked at alone.
const MOST_TO_ZOOM = 0.8;
const TICKS = [0, 0.25, 0.5, 0.75, 1];

/** Return `{node, folded, focus(row), mark(row), select(row)}`; `open(row)` is called with the span that is wanted. */
export function waterfall(rows, whole, { folded, open }) {
  const nodes = new Map();
  const tree = h("div", { role: "tree", "aria-label": "Spans", class: "spans", onkeydown: onKey, onclick: onClick });
  const more = h("div", { class: "row more" });
  let current = null;

  function make(upTo) {
    const from = nodes.size;
    for (const row of rows.slice(from, upTo)) nodes.set(row, spanRow(row, whole));
    tree.append(...[...nodes.values()].slice(from));
    const left = rows.length - nodes.size;
    replace(more, left > 0 && [h("span", { class: "soft small" }, `The first ${count(nodes.size)} of ${count(rows.length)} spans.`), h("button", { onclick: () => make(rows.length) }, "Show all")]);
    fold();
  }

  function fold() {
    let hiddenBelow = Infinity;
    for (const [row, node] of nodes) {
      if (row.depth <= hiddenBelow) hiddenBelow = Infinity;
      node.hidden = row.depth > hiddenBelow;
      if (folded.has(row.span.span_id) && row.children.length && !node.hidden) hiddenBelow = row.depth;
      if (row.children.length) node.setAttribute("aria-expanded", String(!folded.has(row.span.span_id)));
    }
  }

  function toggle(row, shut = !folded.has(row.span.span_id)) {
    if (!row.children.length) return;
    if (shut) folded.add(row.span.span_id);
    else folded.delete(row.span.span_id);
    fold();
  }

  function mark(row) {
    const old = nodes.get(current);
    old?.setAttribute("tabindex", "-1");
    old?.setAttribute("aria-selected", "false");
    current = row;
    nodes.get(row).setAttribute("tabindex", "0");
    nodes.get(row).setAttribute("aria-selected", "true");
  }

  function focus(row) {
    mark(row);
    nodes.get(row).focus();
  }

  function select(row) {
    if (!nodes.has(row)) make(rows.length);
    for (let above = row.parent; above; above = above.parent) folded.delete(above.span.span_id);
    fold();
    mark(row);
    nodes.get(row).scrollIntoView({ block: "nearest" });
    open(row);
  }

  function onClick(event) {
    const node = event.target.closest(".span");
    const row = node && [...nodes].find(([, one]) => one === node)?.[0];
    if (!row) return;
    mark(row);
    if (event.target.closest(".twist") && row.children.length) toggle(row);
    else open(row);
  }

  function onKey(event) {
    const shown = [...nodes].filter(([, node]) => !node.hidden).map(([row]) => row);
    const at = shown.indexOf(current);
    const acts = {
      ArrowDown: () => focus(shown[Math.min(at + 1, shown.length - 1)]),
      ArrowUp: () => focus(shown[Math.max(at - 1, 0)]),
      Home: () => focus(shown[0]),
      End: () => focus(shown.at(-1)),
      ArrowRight: () => (folded.has(current.span.span_id) ? toggle(current, false) : current.children.length && focus(shown[at + 1])),
      ArrowLeft: () => (current.children.length && !folded.has(current.span.span_id) ? toggle(current, true) : current.parent && focus(current.parent)),
      Enter: () => open(current),
      " ": () => open(current),
    };
    if (!Object.hasOwn(acts, event.key) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  make(FIRST_ROWS);
  mark(rows[0]);
  nodes.get(rows[0]).setAttribute("aria-selected", "false");
  const ticks = TICKS.map((share) => h("span", { style: { "inset-inline-start": `${share * 100}%` } }));
  const ruler = h("div", { class: "ruler small soft", "aria-hidden": "true" }, h("span", {}), h("span", {}), h("div", { class: "ticks" }, ticks));
  const node = h("section", { class: "card waterfall" }, h("div", { class: "row" }, legend(rows), zoom(rows, whole, tree, ticks)), ruler, tree, more);
  return { node, folded, focus, mark, select };
}

function legend(rows) {
  const services = [...new Set(rows.map((row) => row.span.service))];
  return h("div", { class: "row legend small" }, services.map((service) => h("span", { class: "part-name" }, h("span", { class: "swatch", style: { background: colourOf(service) } }), service)),
    rows.some((row) => row.waited > 0) && h("span", { class: "part-name" }, h("span", { class: "swatch waited" }), "waiting in a queue"));
}

/** Have the bars show the time up to the answer, or all of it; returns the buttons that choose, where there is a choice. */
function zoom(rows, whole, tree, ticks) {
  const answered = answeredAfter(rows, whole);
  const choice = answered > 0 && answered < whole.total * MOST_TO_ZOOM;
  const buttons = choice && [["Until the answer", answered], ["All of it", whole.total]].map(([name, length]) => h("button", { onclick: () => show(length), value: length }, name));

  function show(length) {
    tree.style.setProperty("--zoom", String(length ? whole.total / length : 1));
    ticks.forEach((tick, place) => (tick.textContent = place ? duration(length * TICKS[place]) : "0"));
    for (const button of buttons || []) button.setAttribute("aria-pressed", String(Number(button.value) === length));
  }

  show(choice && wantsAnswer(rows[0].span.name) ? answered : whole.total);
  return choice && h("div", { class: "row zoom" }, buttons);
}

function spanRow(row, { begin, total }) {
  const { span, depth } = row;
  const share = (ms) => `calc(${total ? (ms / total) * 100 : 0}% * var(--zoom))`;
  const notes = remarks(row);
  const links = span.links.length;
  const words = [shortName(span.name), span.service, failed(row) && "failed", notes, row.waited > 0 && `waited ${duration(row.waited)}`, `took ${duration(span.duration_ms)}`, links && `${links} links`];
  return h("div", { class: failed(row) ? "span failed" : "span", role: "treeitem", "aria-level": depth + 1, tabindex: "-1", "aria-selected": "false", "aria-label": words.filter(Boolean).join(", "), dataset: { span: span.span_id } },
    h("span", { class: "span-name", style: { "padding-inline-start": `${Math.min(depth, DEEPEST_INDENT) * 13}px` } },
      h("span", { class: row.children.length ? "twist" : "twist leaf" }), h("span", { class: "swatch", style: { background: colourOf(span.service) } }),
      h("span", { class: "ellipsis", title: `${span.service}: ${span.name}` }, shortName(span.name)),
      failed(row) && h("span", { class: "badge bad" }, notes || "failed"), !failed(row) && notes && h("span", { class: "badge warn" }, notes), links > 0 && h("span", { class: "badge" }, `${links} ${links === 1 ? "link" : "links"}`)),
    h("span", { class: "span-took small" }, duration(span.duration_ms)),
    h("span", { class: "track" },
      row.waited > 0 && h("span", { class: "bar waited", style: { "inset-inline-start": share(row.start - row.waited - begin), "inline-size": share(row.waited) } }),
      h("span", { class: "bar", style: { "inset-inline-start": share(row.start - begin), "inline-size": share(row.end - row.start), background: colourOf(span.service) } })));
}
