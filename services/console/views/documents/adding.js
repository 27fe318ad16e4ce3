// Where files come in: buttons, a place to drop them, and the collection they go into.

import { h } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { toast } from "../../lib/dialogs.js";
import { chosen, dropped } from "./picking.js";
import { MAX_FILES } from "./uploads.js";

const NAME = "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}";

/** Return `{node, suggest(names, name), listen(area)}`; `add(picked, collection)` takes what was picked. */
export function adding(add) {
  const known = h("datalist", { id: "known-collections" });
  const collection = h("input", { type: "text", name: "collection", value: "default", required: true, pattern: NAME, maxlength: "64", list: "known-collections", autocomplete: "off", spellcheck: "false", title: "Letters, digits, and . _ - after the first", onfocus: () => collection.select() });
  const files = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to add", onchange: () => fromInput(files) });
  const folder = h("input", { type: "file", webkitdirectory: true, hidden: true, "aria-label": "Folder to add", onchange: () => fromInput(folder) });
  const node = h("section", { class: "adding", "aria-label": "Add documents" },
    h("div", { class: "grow row" }, icon("upload"), h("span", {}, "Drop files or folders anywhere here, or")),
    h("button", { class: "primary", onclick: () => open(files) }, "Choose files"),
    h("button", { onclick: () => open(folder) }, "Choose a folder"),
    h("label", { class: "into" }, h("span", {}, "into the collection"), collection), known, files, folder);
  let ownName = false;
  collection.addEventListener("input", () => (ownName = true));

  function open(input) {
    if (collection.reportValidity()) input.click();
  }

  function fromInput(input) {
    take(chosen(input.files, MAX_FILES));
    // The same choice once more is a change again.
    input.value = "";
  }

  function take({ picked, hidden, unreadable, more }) {
    if (!collection.reportValidity()) return;
    if (hidden) toast(`${counted(hidden, "hidden file")} left out.`);
    if (unreadable) toast(`${counted(unreadable, "file or folder", "files or folders")} could not be read and ${unreadable === 1 ? "was" : "were"} left out.`, { bad: true });
    if (more) toast(`More than ${counted(MAX_FILES, "file")} at once: only the first ones were taken. Add the rest afterwards.`, { bad: true });
    if (picked.length) add(picked, collection.value);
    else if (!hidden && !unreadable) toast("There was no file in it.");
  }

  /** Offer these names; what nobody has typed over follows the collection that is looked at. */
  function suggest(names, name) {
    known.replaceChildren(...names.map((value) => h("option", { value })));
    if (!ownName) collection.value = name ?? "default";
  }

  /** Take what is dropped on an area until the signal; the area has the class `dropping` meanwhile. */
  function listen(area, signal) {
    let depth = 0;
    const mark = (change) => area.classList.toggle("dropping", (depth = Math.max(0, depth + change)) > 0);
    const on = (name, listener) => area.addEventListener(name, (event) => hasFiles(event) && (event.preventDefault(), listener(event)), { signal });
    on("dragenter", () => mark(1));
    on("dragleave", () => mark(-1));
    on("dragover", (event) => (event.dataTransfer.dropEffect = "copy"));
    on("drop", async (event) => {
      mark(-depth);
      take(await dropped(event.dataTransfer, MAX_FILES));
    });
  }

  return { node, suggest, listen };
}

function hasFiles({ dataTransfer }) {
  return dataTransfer?.types.includes("Files");
}
