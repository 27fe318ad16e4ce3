// The messages that nobody could process: listed by stage and code, all of them sent again.

import { get, post } from "../../lib/api.js";
import { advice, confirm, load, problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { ago, count, counted, moment } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { STAGES } from "./state.js";

const LETTERS = "v1/admin/dead-letters";
const PAGE = 50;
// As the attribute wants it: the whole value, and every hyphen escaped.
const CODE = "[A-Za-z0-9._\\-]{1,100}";

/** Show the list that the address asks for (`stage`, `code`). */
export function showLetters(place, query) {
  const filter = { consumer: query.get("stage"), code: query.get("code") };
  const leaving = new AbortController();
  const list = h("div", {});
  const again = () => load(list, () => get(LETTERS, { ...filter, limit: PAGE }, { signal: leaving.signal }), (page) => listed(page, filter, again, leaving.signal));
  replace(place, filters(filter), list);
  again();
  return () => leaving.abort();
}

function filters({ consumer, code }) {
  const stage = h("select", { name: "stage", onchange: () => go() },
    h("option", { value: "" }, "Every stage"),
    Object.keys(STAGES).map((name) => h("option", { value: name, selected: name === consumer }, name)));
  const codes = h("input", { name: "code", value: code ?? "", placeholder: "any", spellcheck: "false", autocapitalize: "off", pattern: CODE, title: "A code as the list shows it, such as object_missing", onchange: () => codes.reportValidity() && go() });
  const go = () => {
    const wanted = new URLSearchParams(Object.entries({ stage: stage.value, code: codes.value.trim() }).filter(([, value]) => value));
    location.hash = `#/pipeline/dead-letters${wanted.size ? `?${wanted}` : ""}`;
  };
  return h("form", { class: "row filters", "aria-label": "Filter", onsubmit: (event) => (event.preventDefault(), codes.reportValidity() && go()) },
    h("label", {}, "Stage", stage), h("label", {}, "Code", codes));
}

function listed(page, filter, again, signal) {
  const filtered = Boolean(filter.consumer || filter.code);
  if (!page.items.length) return none(filtered);
  const body = h("tbody", {}, page.items.map(letterRow));
  const more = h("div", { class: "row more" });
  const showMore = (cursor) => replace(more, cursor && h("button", { onclick: () => next(cursor) }, "Show more"));

  async function next(cursor) {
    replace(more, h("span", { class: "spinner" }), "Loading");
    try {
      const found = await get(LETTERS, { ...filter, limit: PAGE, cursor }, { signal });
      const rows = found.items.map(letterRow);
      body.append(...rows);
      showMore(found.next_cursor);
      rows[0]?.querySelector("a").focus();
    } catch (error) {
      if (error.name !== "AbortError") replace(more, problemBox(error, () => next(cursor)));
    }
  }

  showMore(page.next_cursor);
  const progress = h("span", { class: "small soft", role: "status" });
  return h("section", { class: "card" },
    h("div", { class: "row" },
      h("h2", { class: "grow" }, page.next_cursor ? `The newest ${count(page.items.length)}` : counted(page.items.length, "dead letter")), progress,
      h("button", { onclick: (event) => replayAll(filter, progress, event.currentTarget, again) }, icon("refresh"), filtered ? "Send all of these again" : "Send all again")),
    h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Dead letters" },
      h("table", { class: "letters" }, h("thead", {}, h("tr", {}, ["Died", "Stage", "Why", "Document", "Tries"].map((name) => h("th", { scope: "col", class: name === "Tries" ? "number" : null }, name)))), body)),
    more);
}

function none(filtered) {
  return h("div", { class: "empty" }, h("h2", {}, filtered ? "No such dead letters" : "No dead letters"),
    h("p", {}, filtered ? "None has this stage and code." : "A message that fails for good comes to lie here, with the reason, and can be sent again once the cause is gone."),
    filtered && h("a", { class: "button", href: "#/pipeline/dead-letters" }, "Show all"));
}

function letterRow(letter) {
  return h("tr", { dataset: { seq: letter.seq } },
    h("td", { class: "nowrap", title: moment(letter.created_at) }, ago(letter.created_at)),
    h("td", { class: "mono" }, letter.consumer),
    h("td", { class: "why" }, h("a", { href: `#/pipeline/dead-letters/${letter.seq}` }, letter.code), h("div", { class: "small soft reason" }, letter.reason)),
    h("td", { class: "document" }, letter.document_id ? h("a", { href: `#/documents/${encodeURIComponent(letter.document_id)}`, class: "ellipsis", title: letter.document_id }, letter.document_id) : h("span", { class: "soft" }, "none")),
    h("td", { class: "number" }, count(letter.deliveries)));
}

async function replayAll(filter, progress, button, again) {
  const what = [filter.consumer && `of ${filter.consumer}`, filter.code && `with the code ${filter.code}`].filter(Boolean).join(" ");
  if (!(await confirm("Send again?", `Every dead letter ${what || "there is"} is sent again, oldest first. Those whose cause is still there come back.`, "Send again"))) return;
  button.disabled = true;
  const sum = { replayed: 0, refused: {} };
  try {
    const stopped = await replayed(filter, sum, () => replace(progress, `${count(sum.replayed)} sent`));
    toast(outcome(sum, stopped), { bad: Boolean(stopped), forMs: 12_000 });
  } catch (error) {
    toast(`${outcome(sum, null)} ${advice(error)}`, { bad: true, forMs: 12_000 });
  }
  again();
}

/** Resolve to what stopped it, null when every letter was tried. */
async function replayed(filter, sum, progress) {
  const wanted = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
  // What dies again meanwhile is not sent twice.
  const until = new Date().toISOString();
  let cursor = null;
  do {
    const found = await post(`${LETTERS}/replay`, { ...wanted, until, limit: 100, ...(cursor && { cursor }) });
    sum.replayed += found.replayed;
    for (const [code, number] of Object.entries(found.refused)) sum.refused[code] = (sum.refused[code] ?? 0) + number;
    if (found.stopped) return found.stopped;
    cursor = found.next_cursor;
    progress();
  } while (cursor);
  return null;
}

function outcome({ replayed: sent, refused }, stopped) {
  const kept = Object.entries(refused).map(([code, number]) => `${count(number)} ${code}`);
  return [
    `${counted(sent, "dead letter")} sent again.`,
    kept.length && `Refused and still listed: ${kept.join(", ")}.`,
    stopped && `Then it stopped: ${stopped.message}.`,
  ].filter(Boolean).join(" ");
}
