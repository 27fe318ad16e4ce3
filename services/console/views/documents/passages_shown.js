// A document's text as the index holds it, piece by piece; it begins where the wanted chunk is.

import { get } from "../../lib/api.js";
import { load, problemBox } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { passages } from "../../lib/passages.js";

// A chunk is looked for through so many answers of a quarter of a megabyte.
const MOST_LOOKS = 40;

/** Return `{node, show({chunk, quote}), isEmpty()}` for a document. */
export function passagesShown(id, signal) {
  const node = h("section", { class: "text", "aria-label": "Text" });
  const address = `v1/documents/${encodeURIComponent(id)}/chunks`;
  let shown = 0;

  const read = (first) => get(address, { first }, { signal });

  async function show({ chunk = null, quote = null } = {}) {
    const marks = { chunkId: chunk, quote };
    await load(node, () => find(chunk), ({ skipped, found, missing }) => {
      shown = found.items.length;
      return [missing && h("p", { class: "note small" }, "The passage that was cited is not in this version of the document any more."),
        shown === 0 && h("p", { class: "soft" }, "There is no text of this document in the index."),
        skipped.length > 0 && earlier(skipped, marks), pieces(found, marks)];
    });
    const cited = node.querySelector(".cited");
    cited?.scrollIntoView({ block: "center" });
    cited?.focus({ preventScroll: true });
  }

  /** Resolve to the answer that holds a chunk, and to the places of those before it. */
  async function find(chunk) {
    const beginning = await read(0);
    const skipped = [];
    let found = beginning;
    for (let first = 0; chunk && !found.items.some((one) => one.chunk_id === chunk); found = await read(first)) {
      if (found.next === null || skipped.length === MOST_LOOKS) return { skipped: [], found: beginning, missing: true };
      skipped.push(first);
      first = found.next;
    }
    return { skipped, found, missing: false };
  }

  function pieces(found, marks) {
    return [passages(found.items, marks), found.next !== null && further(found.next, marks)];
  }

  function further(first, marks) {
    return step("Show what follows", async (button) => button.replaceWith(...[pieces(await read(first), marks)].flat(Infinity).filter(Boolean)));
  }

  function earlier(places, marks) {
    return step("Show what comes before", async (button) => {
      const before = [...places];
      const found = await read(before.pop());
      button.replaceWith(...[before.length > 0 && earlier(before, marks), passages(found.items, marks)].flat(Infinity).filter(Boolean));
    });
  }

  return { node, show, isEmpty: () => shown === 0 };
}

function step(label, work) {
  const said = h("div", {});
  const button = h("button", { onclick: run }, label);
  const box = h("div", { class: "row more" }, button, said);
  async function run() {
    button.disabled = true;
    try {
      await work(box);
    } catch (error) {
      button.disabled = false;
      if (error.name !== "AbortError") replace(said, problemBox(error));
    }
  }
  return box;
}
