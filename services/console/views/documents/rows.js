// One row of the list, kept while its document changes, so that the focus and the selection stay.

import { h, replace } from "../../lib/dom.js";
import { ago, count, moment } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { addressOf } from "./addresses.js";
import { reasonOf } from "./reasons.js";

export const STATUSES = {
  accepted: { label: "Waiting", tone: "accent", busy: true },
  processing: { label: "Being read", tone: "accent", busy: true },
  indexed: { label: "Indexed", tone: "good" },
  failed: { label: "Failed", tone: "bad" },
  deleted: { label: "Deleted", tone: "" },
};

/** Return the badge of a status. */
export function statusBadge(status) {
  const { label, tone, busy } = STATUSES[status] ?? { label: status, tone: "" };
  return h("span", { class: `badge ${tone}`, dataset: { status } }, busy && h("span", { class: "dot", "aria-hidden": "true" }), label);
}

/** Return what a document is called: its title, or its id. */
export function nameOf(view) {
  return view.title?.trim() || view.id;
}

/** Return where a document comes from, in a line: the folder it was added with, or its address. */
export function originOf({ metadata: { path }, uri, title }) {
  if (typeof path === "string" && path.includes("/")) return `in ${path.slice(0, path.lastIndexOf("/"))}`;
  return uri ?? (title?.trim() ? null : "without a title");
}

/** Return `{row, box, show(view, leaves)}`. */
export function documentRow(view, { mayDelete, onselect, ondelete }) {
  const link = h("a", { class: "name", href: addressOf(view.id) });
  const under = h("div", { class: "under small soft" });
  const [collection, status, chunks, updated] = ["collection", "status", "number chunks", "updated"].map((name) => h("td", { class: name }));
  const box = h("input", { type: "checkbox", onchange: () => onselect(shown, box.checked) });
  const button = h("button", { class: "quiet icon-only", onclick: () => ondelete(shown) }, icon("trash"));
  const row = h("tr", { dataset: { id: view.id } },
    mayDelete && h("td", { class: "pick" }, box),
    h("td", { class: "title" }, link, under), collection, status, chunks, updated,
    mayDelete && h("td", { class: "act" }, button));
  let shown = view;
  let written = null;

  function show(next, leaves) {
    shown = next;
    row.classList.toggle("leaving", leaves);
    box.disabled = button.disabled = leaves;
    updated.textContent = ago(next.updated_at);
    const state = JSON.stringify(next);
    if (state === written) return;
    written = state;
    link.textContent = nameOf(next);
    updated.title = moment(next.updated_at);
    box.setAttribute("aria-label", `Select ${nameOf(next)}`);
    button.setAttribute("aria-label", `Delete ${nameOf(next)}`);
    replace(under, next.error ? reasonLine(next.error) : originOf(next));
    replace(collection, h("span", { class: "ellipsis" }, next.collection));
    replace(status, statusBadge(next.status));
    replace(chunks, chunkCount(next));
  }

  return { row, box, show };
}

function chunkCount({ chunks: { total, indexed }, status }) {
  if (STATUSES[status]?.busy) return total ? `${count(indexed)} of ${count(total)}` : "";
  return indexed ? count(indexed) : "";
}

/** Return a failure in one line. */
export function reasonLine(error) {
  const { what, todo } = reasonOf(error);
  return h("span", { class: "reason" }, `${what} ${todo}`.trim());
}
