// The conversations, the one that was used last first.

import { get, remove } from "../../lib/api.js";
import { advice, confirm, load, problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { ago, counted } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";

const PAGE = 40;
// A turn that could not be recorded at once is in the list somewhat later.
const LATER_MS = [1000, 3000, 10_000];

/** Return `{node, refresh(wanted), holds(id), current(id)}`; `wanted` is one that must be in it, `ondeleted(id)` hears of one that is gone. */
export function conversationList({ ondeleted, onnew, onchoose = () => {} }, signal) {
  const list = h("ul", { class: "talks" });
  const more = h("div");
  const box = h("div", {}, h("p", { class: "row soft" }, h("span", { class: "spinner" }), "Loading"));
  const node = h("div", { class: "talks-box" }, h("a", { class: "button new", href: "#/ask", onclick: begin }, icon("plus"), "New conversation"), box);
  let open = null;
  let timer = 0;
  signal.addEventListener("abort", () => clearTimeout(timer));

  function begin() {
    // No address changes where this one is open already.
    if (["", "#/ask"].includes(location.hash)) onnew();
    onchoose();
  }

  async function refresh(wanted = null, looks = 0) {
    clearTimeout(timer);
    // What is shown stays until there is something newer.
    await (list.isConnected ? page(null).catch(failed) : load(box, () => page(null), () => [list, more]));
    if (wanted !== null && !holds(wanted) && looks < LATER_MS.length && !signal.aborted) timer = setTimeout(() => refresh(wanted, looks + 1), LATER_MS[looks]);
  }

  function holds(id) {
    return list.querySelector(`[data-id="${CSS.escape(id)}"]`) !== null;
  }

  function failed(problem) {
    if (problem.name !== "AbortError") replace(box, problemBox(problem, () => refresh()));
  }

  async function page(cursor) {
    const { items, next_cursor: next } = await get("v1/conversations", { limit: PAGE, cursor }, { signal });
    if (cursor === null) replace(list);
    list.append(...items.map(item));
    if (!list.children.length) list.append(h("li", { class: "soft small none" }, "Conversations will be listed here."));
    replace(more, next && h("button", { class: "quiet small", onclick: (event) => older(event.target, next) }, "Show older ones"));
    current(open);
  }

  async function older(button, cursor) {
    button.disabled = true;
    await page(cursor).catch((problem) => (toast(advice(problem), { bad: true }), (button.disabled = false)));
  }

  function item({ id, title, turn_count: turns, updated_at: at }) {
    return h("li", { dataset: { id } },
      h("a", { href: `#/ask/${encodeURIComponent(id)}`, onclick: onchoose }, h("span", { class: "ellipsis" }, title), h("span", { class: "small soft" }, `${ago(at)} · ${counted(turns, "question")}`)),
      h("button", { class: "quiet icon-only", "aria-label": `Delete the conversation “${title}”`, title: "Delete", onclick: () => ask(id, title) }, icon("trash")));
  }

  async function ask(id, title) {
    if (!(await confirm("Delete this conversation?", `“${title}” is removed with its answers and what was said about them. This cannot be undone.`, "Delete", { danger: true }))) return;
    try {
      await remove(`v1/conversations/${encodeURIComponent(id)}`);
    } catch (problem) {
      if (problem.status !== 404) return toast(`The conversation is still there. ${advice(problem)}`, { bad: true });
    }
    list.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
    ondeleted(id);
    await refresh();
  }

  function current(id) {
    open = id;
    for (const link of list.querySelectorAll("a")) {
      if (id !== null && link.parentElement.dataset.id === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  return { node, refresh, holds, current };
}
