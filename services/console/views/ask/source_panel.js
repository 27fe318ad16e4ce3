// The place a citation points at, inside its document: a panel beside the answers, a sheet on a narrow screen.

import { get } from "../../lib/api.js";
import { load } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { icon } from "../../lib/icons.js";
import { passages } from "../../lib/passages.js";
import { placeIn } from "./places.js";

const NARROW = matchMedia("(max-width: 1000px)");
const NEIGHBOURS = 2;
const PAGE_BYTES = 12_000;
const MAX_PAGES = 40;

/** Return `{node, open(source, label), wait(turn, n), waitsFor(), close()}`; a source is a citation or a hit. */
export function sourcePanel() {
  const body = h("div", { class: "source-body" });
  const heading = h("h2", { id: "source-title", tabindex: "-1" });
  const small = h("div", { class: "small soft" });
  const node = h("dialog", { class: "source", "aria-labelledby": "source-title", onclose: closed, onkeydown: escape },
    h("header", {}, h("div", { class: "grow" }, small, heading), h("button", { class: "quiet icon-only", "aria-label": "Close the source", onclick: () => node.close() }, icon("close"))),
    body);
  let calls = new AbortController();
  let before = null;
  let waitsFor = null;

  function show(label, title) {
    calls.abort();
    calls = new AbortController();
    if (!node.open) {
      before = document.activeElement;
      if (NARROW.matches) node.showModal();
      else node.show();
    }
    small.textContent = label;
    heading.textContent = title;
    heading.focus({ preventScroll: true });
  }

  function open(source, label) {
    waitsFor = null;
    show([label, placeIn(source)].filter(Boolean).join(" · "), source.title ?? source.document_id);
    const signal = calls.signal;
    const text = h("div", { class: "source-text" });
    replace(body,
      h("div", { class: "row small source-links" },
        h("a", { href: addressOf(source) }, "Open the whole document"),
        /^https?:/i.test(source.uri ?? "") && h("a", { href: source.uri, target: "_blank", rel: "noopener noreferrer nofollow" }, icon("external"), "Original")),
      text);
    load(text, () => chunksAround(source, signal), (found) => shownText(source, found, signal));
    return text;
  }

  /** Say that a source is told at the end of the answer; `open` shows it then. */
  function wait(turn, n) {
    waitsFor = { turn, n };
    show(`Source ${n}`, "Not told yet");
    replace(body, h("p", { class: "row soft" }, h("span", { class: "spinner" }), "Where this comes from is told as soon as the answer is written."));
  }

  function closed() {
    calls.abort();
    waitsFor = null;
    const marker = before?.isConnected ? before : null;
    before = null;
    marker?.focus();
  }

  function escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    node.close();
  }

  return { node, open, wait, close: () => node.close(), waitsFor: () => waitsFor };
}

function addressOf({ document_id: id, chunk_id: chunk }) {
  return `#/documents/${encodeURIComponent(id)}?${new URLSearchParams({ chunk })}`;
}

/** Resolve to `{chunks, next, gone}`: the cited chunk with its neighbours, `gone` when the document has no such chunk any more. */
async function chunksAround(source, signal) {
  const path = `v1/documents/${encodeURIComponent(source.document_id)}/chunks`;
  const chunks = [];
  try {
    let first = Math.max(0, (source.ordinal ?? 0) - NEIGHBOURS);
    for (let page = 0; page < MAX_PAGES && first !== null; page += 1) {
      const found = await get(path, { first, max_bytes: PAGE_BYTES }, { signal });
      chunks.push(...found.items);
      first = found.next;
      const place = chunks.findIndex((chunk) => chunk.chunk_id === source.chunk_id);
      if (place >= 0 && (place < chunks.length - 1 || first === null)) return around(chunks, place, first);
      if (place < 0 && typeof source.ordinal === "number" && chunks.some((chunk) => chunk.ordinal > source.ordinal)) break;
    }
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    return { chunks: [], next: null, gone: "deleted" };
  }
  return { chunks: [], next: null, gone: chunks.length ? "changed" : "deleted" };
}

function around(chunks, place, next) {
  const end = place + NEIGHBOURS + 1;
  const kept = chunks.slice(Math.max(0, place - NEIGHBOURS), end);
  return { chunks: kept, next: chunks[end]?.ordinal ?? next, gone: null };
}

function shownText(source, { chunks, next, gone }, signal) {
  const quote = source.quote ?? null;
  if (gone) {
    return [
      h("p", { class: "note" }, gone === "deleted" ? "The document is not there any more." : "The document has changed since this was written."),
      h("blockquote", {}, quote ?? source.text),
    ];
  }
  const text = h("div", {}, passages(chunks, { chunkId: source.chunk_id, quote }));
  requestAnimationFrame(() => (text.querySelector(".cited mark") ?? text.querySelector(".cited"))?.scrollIntoView({ block: "center" }));
  return [earlier(source, text, chunks[0].ordinal, signal), text, later(source, text, next, signal)];
}

function earlier(source, text, first, signal) {
  return first > 0 && more("Show what comes before", async (button) => {
    const from = Math.max(0, first - NEIGHBOURS);
    const found = (await read(source, from, signal)).items.filter((chunk) => chunk.ordinal < first);
    text.prepend(...passages(found));
    button.replaceWith(...[earlier(source, text, found[0]?.ordinal ?? 0, signal)].filter(Boolean));
  });
}

function later(source, text, next, signal) {
  return next !== null && more("Show what follows", async (button) => {
    const found = await read(source, next, signal);
    text.append(...passages(found.items));
    button.replaceWith(...[later(source, text, found.next, signal)].filter(Boolean));
  });
}

function read(source, first, signal) {
  return get(`v1/documents/${encodeURIComponent(source.document_id)}/chunks`, { first, max_bytes: PAGE_BYTES / 2 }, { signal });
}

function more(label, run) {
  const button = h("button", { class: "quiet small more", onclick: async () => {
    button.disabled = true;
    const wrapper = h("div");
    try {
      await run(button);
    } catch (error) {
      if (error.name === "AbortError") return;
      load(wrapper, () => Promise.reject(error), () => []);
      button.replaceWith(wrapper);
    }
  } }, label);
  return button;
}
