// Where a question is written.

import { h, replace } from "../../lib/dom.js";
import { icon } from "../../lib/icons.js";

const MAX_CHARACTERS = 8000;
const KEPT = "rag.ask.choice";
const MODES = [
  ["rag", "Answer", "One search, then an answer from what it found"],
  ["agent", "Agent", "Searches, reads and uses tools, as often as it takes"],
];

/** Return `{node, focus(), busy(bool), collections(items), choice(), choose(choice)}`; `onask(question)` and `onstop()` are called. */
export function composer({ onask, onstop }) {
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  const field = h("textarea", { rows: "1", maxlength: MAX_CHARACTERS, placeholder: "Ask your documents", "aria-label": "Question", enterkeyhint: "send", oninput: grow, onkeydown: key });
  const where = h("select", { "aria-label": "Collection", onchange: keep }, h("option", { value: "" }, "Everywhere"));
  const modes = h("fieldset", { class: "segments", onchange: keep }, h("legend", { class: "visually-hidden" }, "Mode"),
    MODES.map(([value, label, title]) => h("label", { title }, h("input", { type: "radio", name: "mode", value, checked: value === (kept.mode ?? "rag") }), label)));
  const send = h("button", { class: "primary icon-only", "aria-label": "Ask", title: "Ask (Enter)" }, icon("send"));
  const stop = h("button", { type: "button", class: "stop", hidden: true, onclick: onstop }, icon("stop"), "Stop");
  const form = h("form", { class: "composer card", onsubmit: submit }, field, h("div", { class: "row" }, where, modes, h("span", { class: "grow" }), stop, send));
  const node = h("div", { class: "ask-foot" }, form);
  let isBusy = false;

  function grow() {
    field.style.setProperty("height", "auto");
    field.style.setProperty("height", `${field.scrollHeight + 2}px`);
  }

  function key(event) {
    // While an input method composes, Enter takes its suggestion.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  }

  function submit(event) {
    event.preventDefault();
    const question = field.value.trim();
    if (!question || isBusy) return;
    field.value = "";
    grow();
    onask(question);
  }

  function choice() {
    return { collection: where.value || null, mode: form.querySelector("[name=mode]:checked").value };
  }

  function keep() {
    localStorage.setItem(KEPT, JSON.stringify(choice()));
  }

  function collections(items) {
    const wanted = where.value || kept.collection;
    replace(where, h("option", { value: "" }, "Everywhere"), items.map((item) => h("option", { value: item.name }, item.name)));
    where.value = items.some((item) => item.name === wanted) ? wanted : "";
  }

  function busy(value) {
    isBusy = value;
    send.hidden = value;
    stop.hidden = !value;
  }

  return { node, busy, collections, choice, focus: () => field.focus({ preventScroll: true }) };
}
