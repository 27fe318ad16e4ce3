// The collections with what is in them; each is a link to its documents.

import { dialog, problemBox } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { count, counted } from "../../lib/format.js";

/** Return `{node, show(collections, chosen, addressOf)}`. */
export function collectionList() {
  const list = h("ul");
  const node = h("nav", { class: "collections", "aria-label": "Collections" }, h("h2", { class: "small soft" }, "Collections"), list);
  let written = null;

  function show(items, chosen, addressOf) {
    const state = JSON.stringify([items, chosen, addressOf("")]);
    if (state === written) return;
    written = state;
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.collection : null;
    const total = items.reduce((sum, { documents, chunks, by_status: by }) => ({ documents: sum.documents + documents, chunks: sum.chunks + chunks, failed: sum.failed + (by.failed ?? 0) }), { documents: 0, chunks: 0, failed: 0 });
    replace(list, entry("All documents", "", total, chosen === null, addressOf(null)),
      items.map((one) => entry(one.name, one.name, { ...one, failed: one.by_status.failed ?? 0 }, one.name === chosen, addressOf(one.name))));
    const current = list.querySelector("[aria-current]");
    // On a narrow screen the list is a line that goes on beyond the edge.
    if (current) list.scrollLeft = current.offsetLeft - list.offsetLeft - list.clientWidth / 3;
    if (focused !== null) [...list.querySelectorAll("a")].find((link) => link.dataset.collection === focused)?.focus();
  }

  return { node, show };
}

function entry(label, name, { documents, chunks, failed }, current, href) {
  return h("li", {}, h("a", { href, "aria-current": current ? "true" : null, dataset: { collection: name } },
    h("span", { class: "ellipsis" }, label),
    h("span", { class: "number" }, count(documents)),
    h("span", { class: "small soft under" }, counted(chunks, "chunk"), failed > 0 && h("span", { class: "failed" }, ` · ${count(failed)} failed`))));
}

/** Ask for the name of a collection to be typed, then delete it; resolves to whether it is gone. */
export function deleteCollection({ name, documents }, deletions) {
  return dialog(`Delete the collection “${name}”?`, (close) => {
    const field = h("input", { type: "text", autocomplete: "off", spellcheck: "false", autofocus: true, oninput: () => (button.disabled = field.value !== name) });
    const button = h("button", { class: "danger", disabled: true }, "Delete everything in it");
    const said = h("div", {});
    const send = async (event) => {
      event.preventDefault();
      if (field.value !== name) return;
      button.disabled = true;
      try {
        await deletions.collection(name);
        close(true);
      } catch (error) {
        replace(said, problemBox(error));
        button.disabled = false;
      }
    };
    return h("form", { class: "stack", onsubmit: send },
      h("p", {}, `${counted(documents, "document")} will be gone for good, for searches and answers at once. There is no way back.`),
      h("label", {}, h("span", {}, "Type ", h("strong", {}, name), " to confirm"), field), said,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => close(false) }, "Cancel"), button));
  }).then(Boolean);
}
