// Chunks of a document as nodes, each with its place; what a citation quotes is marked.

import { h } from "./dom.js";

/** Return nodes of chunks as `GET /v1/documents/{id}/chunks` gives them; `chunkId` is the cited one, `quote` is marked in it. */
export function passages(chunks, { chunkId = null, quote = null } = {}) {
  let before = "";
  return chunks.map((chunk) => {
    const place = placeOf(chunk);
    const cited = chunk.chunk_id === chunkId;
    const node = h("section", { class: cited ? "passage cited" : "passage", id: `chunk-${chunk.ordinal}`, tabindex: cited ? "-1" : null, "aria-label": cited ? "Cited passage" : null },
      place !== before && place && h("div", { class: "place" }, place),
      h("div", { class: "passage-text" }, cited && quote ? marked(chunk.text, quote) : chunk.text));
    before = place;
    return node;
  });
}

function placeOf({ heading_path: headings, page }) {
  return [...headings, page === null ? null : `page ${page}`].filter(Boolean).join(" › ");
}

/** Return a text in pieces, the first occurrence of the quote in a `mark`; blanks may differ in number and kind. */
export function marked(text, quote) {
  const words = quote.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const found = words[0] ? new RegExp(words.join("\\s+"), "u").exec(text) : null;
  if (!found) return text;
  return [text.slice(0, found.index), h("mark", {}, found[0]), text.slice(found.index + found[0].length)];
}
