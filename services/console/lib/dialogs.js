// Dialogs and short messages.

import { h, replace } from "./dom.js";
import { icon } from "./icons.js";

const TOAST_MS = 6000;

/** Show a dialog until it is closed; `build(close)` returns its content, the promise resolves to what `close` was given. */
export function dialog(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    let outcome = null;
    const close = (value = null) => {
      outcome = value;
      element.close();
    };
    const element = h("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : null, onclose: () => (element.remove(), resolve(outcome)) });
    element.append(h("h2", { id: "dialog-title" }, title), ...[build(close)].flat());
    document.body.append(element);
    element.showModal();
  });
}

/** Ask whether to do something; resolves to a boolean. */
export function confirm(title, text, action, { danger = false } = {}) {
  return dialog(title, (close) => [
    h("p", {}, text),
    h("div", { class: "actions" },
      h("button", { onclick: () => close(false), autofocus: true }, "Cancel"),
      h("button", { class: danger ? "danger" : "primary", onclick: () => close(true) }, action)),
  ]).then(Boolean);
}

/** Say something in passing; `action` is `{label, run}`. Returns what takes it away. */
export function toast(text, { bad = false, action = null, forMs = TOAST_MS } = {}) {
  const away = () => (clearTimeout(timer), element.remove());
  const element = h("div", { class: bad ? "toast bad" : "toast" },
    h("span", { class: "grow" }, text),
    action && h("button", { onclick: () => (away(), action.run()) }, action.label),
    h("button", { class: "quiet icon-only", "aria-label": "Close", onclick: away }, icon("close")));
  const timer = setTimeout(away, forMs);
  document.getElementById("toasts").append(element);
  return away;
}

/** Return a box that says what went wrong and what to do about it. */
export function problemBox(problem, retry = null) {
  return h("div", { class: "problem", role: "alert" },
    h("div", {}, advice(problem)),
    problem.traceId && h("a", { class: "small", href: `#/traces/${problem.traceId}` }, "Look at its trace"),
    retry && h("div", { class: "row" }, h("button", { onclick: retry }, icon("refresh"), "Try again")));
}

/** Return an error in words; what did not come from the gateway is a fault of the console and says so. */
export function advice(problem) {
  if (problem.name !== "Problem") {
    console.error(problem);
    return `The console failed: ${problem.message}. Reload the page.`;
  }
  const wait = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
  if (problem.status === 401) return `The gateway wants an API key: ${problem.message}.`;
  if (problem.status === 403) return `This key may not do that: ${problem.message}.`;
  if (problem.status === 429) return `Too many requests: ${problem.message}.${wait}`;
  if (problem.status === 503) return `Not available at the moment: ${problem.message}.${wait}`;
  return `${problem.message.charAt(0).toUpperCase()}${problem.message.slice(1)}.${wait}`.replace(/([.?!])\.$/, "$1");
}

/** Show a promise's outcome in a node: a sign of work, then `show(value)`, or the problem with a way to try again. */
export async function load(node, work, show) {
  replace(node, h("p", { class: "row soft" }, h("span", { class: "spinner" }), "Loading"));
  try {
    replace(node, show(await work()));
  } catch (error) {
    if (error.name !== "AbortError") replace(node, problemBox(error, () => load(node, work, show)));
  }
}
