// One document: what is known of it, its text as searches find it, and what can be done with it.

import { get, post } from "../../lib/api.js";
import { load, problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { events } from "../../lib/events.js";
import { ago, count, counted, moment } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { listAddress } from "./addresses.js";
import { passagesShown } from "./passages_shown.js";
import { reasonOf } from "./reasons.js";
import { nameOf, statusBadge, STATUSES } from "./rows.js";

const AGAIN_MS = 1_000;

/** Show the document of a route; `back` is the address of the list. Returns `{update(route), unmount()}`. */
export function mountDocument(main, route, { caller, uploads, deletions, back }) {
  const ends = new AbortController();
  const { signal } = ends;
  const id = route.id;
  const address = `v1/documents/${encodeURIComponent(id)}`;
  const mayAdd = caller.scopes.includes("ingest");
  const text = passagesShown(id, signal);
  const head = h("div", { class: "view-head" });
  const state = h("div", { class: "stack", "aria-live": "polite" });
  const line = h("p", { class: "row soft" });
  const facts = h("dl", { class: "facts" });
  const box = h("div", { class: "document" });
  const file = h("input", { type: "file", hidden: true, "aria-label": "File that replaces it", onchange: () => replaceWith(file.files[0]) });
  let view = null;
  let marks = marksOf(route);
  let replacing = null;
  let following = false;

  main.append(h("a", { class: "back", href: back }, icon("chevron"), "All documents"), box);
  uploads.addEventListener("change", onupload, { signal });
  begin();

  async function begin() {
    await load(box, () => get(address, {}, { signal }), (found) => (found.status === "deleted" ? gone() : whole(found)));
    if (!view) return;
    await text.show(marks);
    if (STATUSES[view.status]?.busy) follow();
  }

  function gone() {
    return h("div", { class: "empty" }, h("h1", {}, "This document was deleted"), h("p", {}, "Nothing shows it any more."), h("a", { class: "button", href: back }, "All documents"));
  }

  function whole(found) {
    draw(found);
    return [head, line, state, h("details", { class: "card" }, h("summary", {}, "Details"), facts), h("h2", {}, "Text as it is searched"), text.node, file];
  }

  function draw(found) {
    view = found;
    document.title = `${nameOf(view)} · RAG console`;
    if (!head.hasChildNodes()) {
      replace(head, h("h1", {}, nameOf(view)), mayAdd && [
        h("button", { onclick: () => file.click() }, icon("upload"), "Replace with a file"),
        h("button", { class: "danger", onclick: drop }, icon("trash"), "Delete")]);
    }
    drawFacts();
    drawState();
  }

  function drawFacts() {
    const collection = h("a", { href: listAddress({ collection: view.collection }) }, view.collection);
    replace(line, statusBadge(view.status), h("span", {}, "in ", collection), h("span", {}, chunksOf(view)), h("span", {}, `updated ${ago(view.updated_at)}`));
    const rows = [
      ["Updated", moment(view.updated_at)],
      ["Added", moment(view.created_at)],
      ["Address", view.uri && linked(view.uri)],
      ["Id", h("code", {}, view.id)],
      ["Revision", h("code", {}, view.revision)],
      ...Object.entries(view.metadata).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : String(value)]),
    ];
    replace(facts, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  function drawState() {
    replace(state, replacing && replacingLine(replacing), view.error && failure());
  }

  function failure() {
    const { what, todo, detail } = reasonOf(view.error);
    return h("div", { class: "problem" }, h("strong", {}, what), todo && ` ${todo}`, detail && h("div", { class: "small" }, detail),
      !text.isEmpty() && h("div", { class: "small" }, "Searches and answers go on with the last version that could be read, which is shown below."),
      caller.scopes.includes("admin") && h("div", { class: "row" }, h("button", { onclick: tryAgain }, icon("refresh"), "Try the same file again")));
  }

  /** Send its dead letter again: the platform keeps the file of a failed document there, and of no other. */
  async function tryAgain(event) {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      const { items } = await get("v1/admin/dead-letters", { document_id: id, limit: 1 }, { signal });
      if (items[0]?.revision !== view.revision) return toast("The platform does not have this file any more. Use “Replace with a file”.", { bad: true });
      const { revision } = await post(`v1/admin/dead-letters/${items[0].seq}/replay`, {}, { signal });
      await follow(revision ?? view.revision);
    } catch (error) {
      if (error.name !== "AbortError") state.append(problemBox(error));
    } finally {
      button.disabled = false;
    }
  }

  function replaceWith(chosen) {
    file.value = "";
    if (!chosen) return;
    const as = { id, metadata: view.metadata, ...(view.title && { title: view.title }), ...(view.uri && { uri: view.uri }) };
    uploads.add([{ file: chosen, path: chosen.name, as }], view.collection);
    replacing = uploads.items.at(-1);
    drawState();
  }

  function onupload() {
    if (!replacing) return;
    drawState();
    if (replacing.state !== "accepted" || following) return;
    const { revision } = replacing;
    replacing = null;
    follow(revision);
  }

  /** Show each state as it comes, until revision `wanted` or a later one is through; then its text. */
  async function follow(wanted = 0) {
    if (following) return;
    following = true;
    try {
      do {
        for await (const { data } of events(`${address}/events`, { signal })) {
          const { status, chunks, error, revision } = data;
          if (revision >= wanted) draw({ ...view, status, chunks, error, revision });
        }
        draw(await get(address, {}, { signal }));
        if (!isThrough(view, wanted)) await pause(AGAIN_MS, signal);
      } while (!isThrough(view, wanted));
      await text.show(marks);
      drawState();
    } catch (error) {
      if (error.name !== "AbortError") state.append(problemBox(error, () => follow(wanted)));
    } finally {
      following = false;
    }
  }

  function drop() {
    deletions.later([view]);
    location.hash = back;
  }

  return {
    update(next) {
      marks = marksOf(next);
      if (view) text.show(marks);
    },
    unmount: () => ends.abort(),
  };
}

function marksOf({ query }) {
  return { chunk: query.get("chunk"), quote: query.get("quote") };
}

function isThrough({ status, revision }, wanted) {
  return revision >= wanted && !STATUSES[status]?.busy;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

function chunksOf({ chunks: { total, indexed } }) {
  return total === indexed ? counted(indexed, "chunk") : `${count(indexed)} of ${counted(total, "chunk")}`;
}

function replacingLine({ state, progress, path, words }) {
  if (state === "refused" || state === "unsent") return h("div", { class: "problem" }, `${path} was not sent. ${words}`);
  return h("p", { class: "row" }, h("span", { class: "spinner" }), `Sending ${path}`, h("progress", { max: "1", value: String(progress), "aria-label": `Sending ${path}` }));
}

/** A web address becomes a link; anything else that a document calls its address stays text. */
function linked(uri) {
  if (!/^https?:\/\//i.test(uri)) return uri;
  return h("a", { href: uri, target: "_blank", rel: "noopener noreferrer nofollow" }, uri, " ", icon("external"));
}
