// The list of documents with all that is around it: adding, collections, filters.

import { get } from "../../lib/api.js";
import { problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { listAddress } from "./addresses.js";
import { adding } from "./adding.js";
import { collectionList, deleteCollection } from "./collections.js";
import { documentList } from "./list.js";
import { repeating } from "./repeating.js";
import { STATUSES } from "./rows.js";
import { uploadPanel } from "./upload_panel.js";

const BUSY_MS = 1_500;
const IDLE_MS = 10_000;
const TYPING_MS = 250;
const LISTED = ["accepted", "processing", "indexed", "failed"];

/** Show the list; returns `{address(), update(route), unmount()}`. */
export function mountOverview(main, route, { caller, uploads, deletions }) {
  const ends = new AbortController();
  const mayAdd = caller.scopes.includes("ingest");
  let filters = filtersOf(route);
  let collections = null;
  let typing = null;
  let first = true;
  let filled = false;
  let wasPending = uploads.pending;

  const list = documentList({ mayDelete: mayAdd, deletions, empty: nothingThere });
  const side = collectionList();
  const intake = adding((picked, collection) => uploads.add(picked, collection));
  const panel = uploadPanel(uploads);
  const offer = h("div", {});
  const trouble = h("div", {});
  const head = h("div", { class: "row list-head" });
  const search = h("input", { type: "search", placeholder: "Search titles", "aria-label": "Search titles", maxlength: "256", value: filters.title ?? "", oninput: () => (clearTimeout(typing), (typing = setTimeout(retitle, TYPING_MS))) });
  const status = h("select", { "aria-label": "Status", onchange: () => go({ ...filters, status: status.value || null }) },
    h("option", { value: "" }, "Any status"), LISTED.map((value) => h("option", { value }, STATUSES[value].label)));
  const filterRow = h("form", { class: "row filters", role: "search", onsubmit: (event) => (event.preventDefault(), retitle()) }, icon("search"), search, status);
  const results = h("div", { class: "results" }, head, filterRow, trouble, list.node);
  side.node.hidden = filterRow.hidden = true;
  const page = h("div", { class: "documents-view" }, h("div", { class: "view-head" }, h("h1", {}, "Documents")), mayAdd && intake.node, mayAdd && panel.node, offer, h("div", { class: "columns" }, side.node, results));
  main.append(page);

  const looking = repeating(look, () => (uploads.pending || list.busy() ? BUSY_MS : IDLE_MS), failed);
  deletions.addEventListener("change", changed, { signal: ends.signal });
  uploads.addEventListener("change", settled, { signal: ends.signal });
  if (mayAdd) intake.listen(main, ends.signal);
  uploads.watch();

  async function look(signal) {
    const begun = first;
    first = false;
    const [found] = await Promise.all([get("v1/collections", {}, { signal }), begun ? list.show(filters, signal) : list.refresh(signal)]);
    collections = found.items;
    drawAround();
    if (collections.length) filled = true;
    else if (mayAdd) await offerSample();
    replace(trouble);
  }

  async function offerSample() {
    // Once everything was deleted again, the sample is offered anew.
    if (offer.hasChildNodes() && !filled) return;
    filled = false;
    const { firstRun } = await import("./first_run.js");
    const node = await firstRun((question) => (location.hash = `#/ask?${new URLSearchParams({ q: question })}`));
    if (node) replace(offer, node);
  }

  function failed(error) {
    // What was to be shown first is still to be shown.
    first = first || list.node.hasAttribute("aria-busy");
    replace(trouble, problemBox(error, () => looking.now()));
  }

  /** Look at once when an upload begins or ends, not at every step of it. */
  function settled() {
    if (uploads.pending !== wasPending) looking.now();
    wasPending = uploads.pending;
  }

  function changed() {
    list.draw();
    looking.now();
  }

  function drawAround() {
    side.show(collections, filters.collection, (collection) => listAddress({ ...filters, collection }));
    side.node.hidden = !collections.length;
    filterRow.hidden = !collections.length;
    intake.suggest(collections.map(({ name }) => name), filters.collection);
    status.value = filters.status ?? "";
    const one = collections.find(({ name }) => name === filters.collection);
    const state = one ? `${one.name} ${one.documents} ${one.chunks}` : "";
    if (head.dataset.state === state) return;
    head.dataset.state = state;
    replace(head, one && [h("h2", { class: "grow ellipsis" }, one.name), h("span", { class: "soft small" }, `${counted(one.documents, "document")}, ${counted(one.chunks, "chunk")}`),
      mayAdd && h("button", { class: "quiet", onclick: () => dropCollection(one) }, icon("trash"), "Delete the collection")]);
  }

  async function dropCollection(one) {
    if (!(await deleteCollection(one, deletions))) return;
    toast(`Deleted the collection “${one.name}”.`);
    go({ ...filters, collection: null });
  }

  function retitle() {
    clearTimeout(typing);
    const title = search.value.trim() || null;
    if (title !== filters.title) go({ ...filters, title });
  }

  /** Show under other filters, which the address tells, without a step in the history for every letter. */
  function go(next) {
    history.replaceState(null, "", listAddress(next));
    begin(next);
  }

  function begin(next) {
    filters = next;
    first = true;
    if (collections) drawAround();
    looking.now();
  }

  function nothingThere() {
    if (filters.collection || filters.status || filters.title) {
      return h("div", { class: "empty" }, h("h2", {}, "No document matches"), h("p", {}, "Nothing here has that title, status and collection."), h("button", { onclick: clearFilters }, "Show all documents"));
    }
    // Whoever may add documents is offered a sample above.
    return mayAdd ? null : h("div", { class: "empty" }, h("h2", {}, "No documents yet"), h("p", {}, "This key may read documents, but not add any."));
  }

  function clearFilters() {
    search.value = "";
    go({ collection: null, status: null, title: null });
  }

  return {
    address: () => listAddress(filters),
    update(next) {
      search.value = filtersOf(next).title ?? "";
      begin(filtersOf(next));
    },
    unmount() {
      clearTimeout(typing);
      ends.abort();
      looking.stop();
      panel.stop();
      uploads.unwatch();
      main.classList.remove("dropping");
    },
  };
}

function filtersOf({ query }) {
  return { collection: query.get("collection"), status: LISTED.includes(query.get("status")) ? query.get("status") : null, title: query.get("title") };
}
