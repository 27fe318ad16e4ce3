// An answer that there is none, and what comes nearest to the question.

import { post } from "../../lib/api.js";
import { load } from "../../lib/dialogs.js";
import { h } from "../../lib/dom.js";
import { placeIn } from "./places.js";

const SHOWN = 4;
const EXCERPT_CHARACTERS = 220;

/** Return a node with the passages nearest to a question; `onopen(hit)` is called for one that is to be read. */
export function nearest({ question, collection }, onopen, signal) {
  const node = h("div", { class: "nearest" });
  load(node, () => post("v1/search", { query: question, collection, top_k: SHOWN }, { signal }), ({ hits }) => shown(hits, onopen));
  return node;
}

function shown(hits, onopen) {
  if (!hits.length) return h("p", { class: "soft small" }, "There are no passages to show either: nothing is indexed here yet.");
  return [
    h("h3", {}, "The nearest passages"),
    h("ul", { class: "nearest-list" }, hits.map((hit) => h("li", {},
      h("button", { class: "hit", onclick: () => onopen(hit) },
        h("span", { class: "hit-title" }, hit.title ?? hit.document_id),
        placeIn(hit) && h("span", { class: "small soft" }, placeIn(hit)),
        h("span", { class: "hit-text" }, excerpt(hit.text)))))),
  ];
}

function excerpt(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > EXCERPT_CHARACTERS ? `${line.slice(0, EXCERPT_CHARACTERS)}…` : line;
}
