// The newest traces, by what they took, where they went and whether they failed.

import { get } from "../../lib/api.js";
import { problemBox } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { ago, count, duration, moment } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { poll } from "../../lib/polling.js";
import { SERVICES, colourOf, plainName, shortName } from "./names.js";

const PAGE = 50;
const EVERY_MS = 5_000;
const LEAST_MS = [["", "any time"], ["100", "100 ms"], ["500", "500 ms"], ["1000", "1 s"], ["5000", "5 s"], ["30000", "30 s"]];
const ID = /[0-9a-f]{32}/i;

/** Show the list that the address asks for (`min_ms`, `error`, `service`). */
export function showList(place, query) {
  const filter = Object.fromEntries(["min_ms", "error", "service"].map((name) => [name, query.get(name)]));
  const list = h("div", {}, h("p", { class: "row soft" }, h("span", { class: "spinner" }), "Loading"));
  replace(place, h("div", { class: "row filters" }, filters(filter), byId()), list);
  let shown = null;

  const polling = poll(async (signal) => {
    // Whoever looks at older ones, or stands on a row, keeps what is there.
    if (shown?.held()) return;
    const page = await get("v1/traces", { ...filter, limit: PAGE }, { signal });
    const text = JSON.stringify(page);
    if (shown?.text === text) return shown.tell();
    shown = { text, ...table(page, filter, signal) };
    replace(list, shown.node);
  }, { everyMs: EVERY_MS, failed: (error) => (shown = null, replace(list, problemBox(error, polling.now))) });

  return polling.stop;
}

function filters(filter) {
  const least = chooser(LEAST_MS, filter.min_ms ?? "", (value) => `${value} ms`, () => go());
  const service = chooser([["", "any service"], ...SERVICES.map((name) => [name, name])], filter.service ?? "", String, () => go());
  const failed = h("input", { type: "checkbox", checked: filter.error === "true", onchange: () => go() });
  const go = () => {
    const wanted = Object.entries({ min_ms: least.value, error: failed.checked ? "true" : "", service: service.value }).filter(([, value]) => value);
    location.hash = `#/traces${wanted.length ? `?${new URLSearchParams(wanted)}` : ""}`;
  };
  return h("form", { class: "row grow", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() },
    h("label", {}, "Took at least", least), h("label", {}, "Went through", service), h("label", { class: "check" }, failed, "Only failed"));
}

/** Return a choice of `[value, name]`; an address may name a value that is none of them. */
function chooser(choices, chosen, nameOf, onchange) {
  const all = choices.some(([value]) => value === chosen) ? choices : [...choices, [chosen, nameOf(chosen)]];
  return h("select", { onchange }, all.map(([value, name]) => h("option", { value, selected: value === chosen }, name)));
}

function byId() {
  const field = h("input", { name: "trace", placeholder: "X-Trace-Id of a reply", spellcheck: "false", autocapitalize: "off", autocomplete: "off", oninput: () => field.setCustomValidity("") });
  return h("form", { class: "row by-id", onsubmit: (event) => {
    event.preventDefault();
    const found = ID.exec(field.value.replaceAll("-", " "))?.[0];
    if (found) return void (location.hash = `#/traces/${found.toLowerCase()}`);
    field.setCustomValidity("A trace id has 32 hexadecimal digits, such as 4bf92f3577b34da6a3ce929d0e0e4736.");
    field.reportValidity();
  } }, h("label", {}, "Trace id", field), h("button", {}, "Open"));
}

function table(page, filter, signal) {
  if (!page.items.length) return { node: none(filter), held: () => false, tell() {} };
  const times = [];
  const add = (items) => body.append(...items.map((item) => traceRow(item, times)));
  const body = h("tbody", {});
  const more = h("div", { class: "row more" });
  let older = false;

  async function next(cursor) {
    older = true;
    replace(more, h("span", { class: "spinner" }), "Loading");
    try {
      const found = await get("v1/traces", { ...filter, limit: PAGE, cursor }, { signal });
      const before = body.rows.length;
      add(found.items);
      offer(found.next_cursor);
      body.rows[before]?.querySelector("a").focus();
    } catch (error) {
      if (error.name !== "AbortError") replace(more, problemBox(error, () => next(cursor)));
    }
  }

  const offer = (cursor) => replace(more, cursor && h("button", { onclick: () => next(cursor) }, "Show older ones"));
  add(page.items);
  offer(page.next_cursor);
  const node = h("section", { class: "card" }, h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Traces" },
    h("table", { class: "traces" }, h("thead", {}, h("tr", {}, ["When", "What", "Took", "Through", "Spans"].map((name) => h("th", { scope: "col", class: ["Took", "Spans"].includes(name) ? "number" : null }, name)))), body)), more);
  return { node, held: () => older || node.contains(document.activeElement), tell: () => times.forEach((write) => write()) };
}

function traceRow(item, times) {
  const when = h("td", { class: "nowrap", title: moment(item.start) });
  const write = () => (when.textContent = ago(item.start));
  write();
  times.push(write);
  const plain = plainName(item.name);
  const name = shortName(item.name);
  return h("tr", { dataset: { trace: item.trace_id } }, when,
    h("td", { class: "what" }, h("a", { href: `#/traces/${item.trace_id}` }, plain ?? name), item.error && h("span", { class: "badge bad" }, icon("alert"), "failed"), plain && h("div", { class: "small soft" }, name)),
    h("td", { class: "number nowrap" }, duration(item.duration_ms)),
    h("td", {}, h("div", { class: "through" }, item.services.map((service) => h("span", { class: "part-name small" }, h("span", { class: "swatch", style: { background: colourOf(service) } }), service)))),
    h("td", { class: "number spans-number" }, count(item.spans)));
}

function none(filter) {
  const filtered = Object.values(filter).some(Boolean);
  return h("div", { class: "empty" }, h("h2", {}, filtered ? "No such traces" : "No traces yet"),
    h("p", {}, filtered ? "None of those that are kept took so long, went there, or failed." : "Send a document or ask a question: what every service did for it comes to stand here."),
    filtered && h("a", { class: "button", href: "#/traces" }, "Show all"));
}
