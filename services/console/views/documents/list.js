// The table of documents: pages, selection, changes as they happen.

import { get } from "../../lib/api.js";
import { h, replace } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { documentRow, STATUSES } from "./rows.js";

const PAGE = 50;
const MOST = 500;

/** Show documents under filters. `node` is the list; `show(filters)` begins anew, `refresh()` looks again. */
export function documentList({ mayDelete, deletions, empty }) {
  const rows = new Map();
  const selected = new Set();
  let views = [];
  let cursor = null;
  let filters = {};
  let turn = 0;

  const all = h("input", { type: "checkbox", "aria-label": "Select all that are shown", onchange: () => selectAll(all.checked) });
  const body = h("tbody");
  const table = h("table", { class: "documents" },
    h("caption", { class: "visually-hidden" }, "Documents"),
    h("thead", {}, h("tr", {},
      mayDelete && h("th", { class: "pick", scope: "col" }, all),
      h("th", { scope: "col" }, "Document"), h("th", { scope: "col", class: "collection" }, "Collection"), h("th", { scope: "col" }, "Status"),
      h("th", { scope: "col", class: "number chunks" }, "Chunks"), h("th", { scope: "col", class: "updated" }, "Updated"),
      mayDelete && h("th", { scope: "col", class: "act" }, h("span", { class: "visually-hidden" }, "Delete")))), body);
  const chosen = h("div", { class: "chosen row", hidden: true, role: "group", "aria-label": "Selected documents" });
  const nothing = h("div", { hidden: true });
  const more = h("button", { hidden: true, onclick: () => loadMore() }, "Show more");
  const waiting = h("p", { class: "row soft" }, h("span", { class: "spinner" }), "Loading");
  const node = h("div", { class: "list" }, waiting, chosen, table, nothing, h("div", { class: "row more" }, more));
  table.hidden = true;

  async function page(parameters, signal) {
    return get("v1/documents", { ...filters, order: "newest", ...parameters }, { signal });
  }

  async function show(next, signal) {
    const mine = (turn += 1);
    filters = next;
    node.setAttribute("aria-busy", "true");
    const found = await page({ limit: PAGE }, signal);
    if (mine !== turn) return;
    node.removeAttribute("aria-busy");
    for (const id of selected) if (!found.items.some((view) => view.id === id)) selected.delete(id);
    take(found.items, found.next_cursor);
  }

  async function refresh(signal) {
    const mine = turn;
    const found = await page({ limit: Math.min(MOST, Math.max(PAGE, views.length)) }, signal);
    if (mine !== turn) return;
    // Of a list that is longer than one look, what lies behind stays as it was seen last.
    const last = found.next_cursor === null ? -1 : views.findIndex(({ id }) => id === found.items.at(-1).id);
    const behind = last < 0 ? [] : views.slice(last + 1);
    take([...found.items, ...behind], behind.length ? cursor : found.next_cursor);
  }

  async function loadMore() {
    const mine = (turn += 1);
    more.disabled = true;
    try {
      const found = await page({ limit: PAGE, cursor });
      if (mine === turn) take([...views, ...found.items], found.next_cursor);
    } finally {
      more.disabled = false;
    }
  }

  function take(next, nextCursor) {
    [views, cursor] = [next, nextCursor];
    draw();
  }

  function draw() {
    const visible = views.filter((view) => !deletions.isGone(view));
    const wanted = visible.map((view) => rowOf(view).row);
    // Rows that are where they belong are not touched: what is moved loses the focus.
    wanted.forEach((row, index) => body.children[index] !== row && body.insertBefore(row, body.children[index] ?? null));
    while (body.children.length > wanted.length) body.lastChild.remove();
    const ids = new Set(visible.map(({ id }) => id));
    for (const id of rows.keys()) if (!ids.has(id)) (rows.delete(id), selected.delete(id));
    table.hidden = !visible.length;
    table.classList.toggle("of-one", Boolean(filters.collection));
    waiting.hidden = true;
    more.hidden = cursor === null;
    nothing.hidden = visible.length > 0 || cursor !== null;
    const asked = nothing.hidden ? "" : JSON.stringify(filters);
    if (asked && asked !== nothing.dataset.asked) replace(nothing, empty(filters));
    nothing.dataset.asked = asked;
    drawSelection();
  }

  function rowOf(view) {
    if (!rows.has(view.id)) rows.set(view.id, documentRow(view, { mayDelete, onselect: select, ondelete: deleteOne }));
    const found = rows.get(view.id);
    const leaves = deletions.leaves(view);
    if (leaves) selected.delete(view.id);
    found.show(view, leaves);
    found.box.checked = selected.has(view.id);
    return found;
  }

  function select(view, on) {
    if (on) selected.add(view.id);
    else selected.delete(view.id);
    drawSelection();
  }

  function selectAll(on) {
    selected.clear();
    if (on) for (const view of views) if (rows.has(view.id) && !deletions.leaves(view)) selected.add(view.id);
    draw();
  }

  function drawSelection() {
    chosen.hidden = selected.size === 0;
    all.checked = selected.size > 0 && selected.size === rows.size;
    all.indeterminate = selected.size > 0 && selected.size < rows.size;
    if (chosen.hidden || Number(chosen.dataset.size) === selected.size) return;
    chosen.dataset.size = selected.size;
    replace(chosen, h("span", {}, `${counted(selected.size, "document")} selected`),
      h("button", { class: "danger", onclick: deleteSelected }, icon("trash"), "Delete"),
      h("button", { class: "quiet", onclick: () => selectAll(false) }, "Clear the selection"));
  }

  function deleteOne(view) {
    const row = rows.get(view.id).row;
    deletions.later([view]);
    // Its button is not there any more; going on from its neighbour is what the keyboard expects.
    (row.nextElementSibling ?? row.previousElementSibling ?? row).querySelector(".name").focus();
  }

  function deleteSelected() {
    deletions.later(views.filter(({ id }) => selected.has(id)));
    all.focus();
  }

  return { node, show, refresh, draw, busy: () => views.some(({ status }) => STATUSES[status]?.busy) };
}
