// How many files go into one request, and what the request looks like.

import { bytes } from "../../lib/format.js";

// Small enough that progress is seen and a retry is cheap.
const BATCH_FILES = 40;
const BATCH_BYTES = 16_000_000;
// What a file costs in a form beside its content: headers, and its description with a path.
const PART_BYTES = 4_000;

/** Return why a file can't be sent, in words, or null. */
export function refusalOf(file, limits) {
  if (file.size === 0) return "The file is empty.";
  const most = Math.min(limits.document_bytes, limits.request_bytes - 2 * PART_BYTES);
  if (file.size > most) return `The file has ${bytes(file.size)}; one file may have ${bytes(most)}. Split it, or make it smaller.`;
  return null;
}

/** Return the items in batches that fit a request, each of one collection, in their order. */
export function batchesOf(items, limits) {
  const mostFiles = Math.min(BATCH_FILES, limits.documents);
  const mostBytes = Math.min(BATCH_BYTES, limits.request_bytes);
  const found = [];
  let last = null;
  for (const item of items) {
    const size = item.file.size + PART_BYTES;
    if (!last || last.items.length >= mostFiles || last.bytes + size > mostBytes || last.items[0].collection !== item.collection) {
      found.push((last = { ...batch([]), bytes: 0 }));
    }
    last.items.push(item);
    last.bytes += size;
  }
  return found;
}

/** Return a batch with a key of its own: a request that is repeated under it doubles nothing. */
export function batch(items) {
  return { items, key: crypto.randomUUID?.() ?? randomKey() };
}

// Beyond localhost a page without TLS has no randomUUID.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (value) => value.toString(16).padStart(2, "0")).join("");
}

/** Return the form that uploads a batch. */
export function formOf({ items }) {
  const form = new FormData();
  form.append("collection", items[0].collection);
  form.append("documents", JSON.stringify(items.map(descriptionOf)));
  for (const { file } of items) form.append("files", file, file.name);
  return form;
}

function descriptionOf({ path, file, as }) {
  if (as) return as;
  return path === file.name ? {} : { metadata: { path } };
}

/** Say of each item how much of it is sent, when so much of the whole form is. */
export function share(items, fraction) {
  const total = items.reduce((sum, { file }) => sum + file.size, 0);
  let rest = fraction * total;
  for (const item of items) {
    item.progress = Math.max(0, Math.min(1, rest / item.file.size));
    rest -= item.file.size;
  }
}
