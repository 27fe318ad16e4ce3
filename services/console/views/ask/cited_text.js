// The text of an answer: Markdown in which the markers [n] are buttons.

import { h } from "../../lib/dom.js";

// Characters for private use stand for the brackets while Markdown is read, which has meanings of its own for them.
const OPEN = "\ue000";
const CLOSE = "\ue001";
const STAND_IN = new RegExp(`${OPEN}(\\d{1,4})${CLOSE}`, "g");
const IN_ADDRESS = /%EE%80%80(\d{1,4})%EE%80%81/gi;

/** Resolve to the function that makes text into nodes; `known` maps numbers to citations, null while they are not told yet. */
export async function citedTextMaker() {
  const { markdown } = await import("../../lib/markdown.js");
  return (text, known) => {
    const clean = text.replaceAll(OPEN, "").replaceAll(CLOSE, "");
    const fragment = markdown(clean.replace(/\[(\d{1,4})\]/g, `${OPEN}$1${CLOSE}`));
    for (const link of fragment.querySelectorAll("a[href]")) link.setAttribute("href", link.getAttribute("href").replace(IN_ADDRESS, "[$1]").replace(STAND_IN, "[$1]"));
    for (const node of textsOf(fragment)) {
      if (node.data.includes(OPEN)) node.replaceWith(...pieces(node, known));
    }
    return fragment;
  };
}

function textsOf(fragment) {
  const found = [];
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) found.push(walker.currentNode);
  return found;
}

function pieces(node, known) {
  const plain = node.parentElement?.closest("a, code, pre");
  return node.data.split(STAND_IN).map((part, place) => {
    if (place % 2 === 0) return part;
    if (plain || (known && !known.has(Number(part)))) return `[${part}]`;
    return marker(Number(part), known?.get(Number(part)));
  });
}

function marker(n, citation) {
  const label = citation ? `Source ${n}: ${citation.title ?? citation.document_id}` : `Source ${n}`;
  return h("button", { type: "button", class: "cite", dataset: { n }, "aria-label": label, title: citation ? label : null }, String(n));
}

/** Have a node show this fragment, leaving in place what is the same from the beginning on: a focus, a selection. */
export function patch(node, fragment) {
  const wanted = [...fragment.childNodes];
  let same = 0;
  while (same < wanted.length && node.childNodes[same]?.isEqualNode(wanted[same])) same += 1;
  while (node.childNodes.length > same) node.lastChild.remove();
  node.append(...wanted.slice(same));
}
