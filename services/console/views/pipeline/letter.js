// One dead letter: why it died, the message as it was, and what to do with it.

import { get, post, remove } from "../../lib/api.js";
import { confirm, load, problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { bytes, count, moment } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";

const LETTERS = "v1/admin/dead-letters";
const LIST = "#/pipeline/dead-letters";
const MOST_CHARACTERS = 20_000;

/** Show the letter of this number. */
export function showLetter(place, seq) {
  const leaving = new AbortController();
  const body = h("div", {});
  replace(place, h("p", {}, h("a", { href: LIST, class: "back" }, "All dead letters")), body);
  load(body, () => get(`${LETTERS}/${encodeURIComponent(seq)}`, {}, { signal: leaving.signal }), shown);
  return () => leaving.abort();
}

function shown(letter) {
  const trouble = h("div", {});
  return h("article", { class: "card letter", "aria-labelledby": "letter-title" },
    h("div", { class: "row" }, h("h2", { id: "letter-title", class: "grow" }, `Dead letter ${letter.seq}: ${letter.code}`),
      h("button", { class: "primary", disabled: letter.payload.missing, onclick: (event) => replay(letter, event.currentTarget, trouble) }, icon("refresh"), "Send again"),
      h("button", { class: "danger", onclick: (event) => discard(letter, event.currentTarget, trouble) }, icon("trash"), "Discard")),
    trouble,
    h("p", { class: "reason" }, letter.reason),
    h("dl", { class: "facts" }, facts(letter).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("h3", {}, "Headers"),
    Object.keys(letter.headers).length
      ? h("dl", { class: "facts mono" }, Object.entries(letter.headers).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))
      : h("p", { class: "soft small" }, "The message had none."),
    h("h3", {}, "Payload"), payload(letter.payload));
}

function facts(letter) {
  const found = {
    Stage: letter.consumer,
    Died: moment(letter.created_at),
    Tries: count(letter.deliveries),
    "Wrong field": letter.field,
    Error: letter.error,
    Document: letter.document_id && [h("a", { href: `#/documents/${encodeURIComponent(letter.document_id)}` }, letter.document_id), letter.revision !== null && h("span", { class: "soft" }, `, revision ${letter.revision}`)],
    Trace: letter.trace_id && h("a", { href: `#/traces/${encodeURIComponent(letter.trace_id)}`, class: "mono" }, letter.trace_id),
    Message: `${letter.subject}, number ${letter.stream_sequence} of ${letter.stream}`,
    Size: letter.size_bytes === null ? null : bytes(letter.size_bytes),
  };
  return Object.entries(found).filter(([, value]) => value !== null && value !== undefined && value !== "");
}

function payload({ encoding, value, truncated, missing }) {
  if (missing) return h("p", { class: "soft" }, "The payload is no longer in the object store: the message can't be sent again.");
  const { text, note } = encoding === "json" ? { text: JSON.stringify(value, null, 2), note: null } : decoded(value);
  const block = h("pre", { tabindex: "0", "aria-label": "Payload" }, text.slice(0, MOST_CHARACTERS));
  const all = text.length > MOST_CHARACTERS && h("button", { onclick: () => (replace(block, text), all.remove()) }, `Show all ${count(text.length)} characters`);
  return [note && h("p", { class: "small soft" }, note), truncated && h("p", { class: "small soft" }, "Only the beginning is shown: the message is larger."), block, all];
}

/** Return bytes as the text that they are, or as base64 where they are none. */
function decoded(base64) {
  const raw = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(raw), note: "The payload is no JSON." };
  } catch {
    return { text: base64, note: "The payload is no text; this is its base64." };
  }
}

async function replay(letter, button, trouble) {
  button.disabled = true;
  try {
    const { trace_id: trace, revision } = await post(`${LETTERS}/${letter.seq}/replay`, {});
    toast(revision === null ? "Sent again." : `Sent again, as revision ${revision}.`, { action: { label: "Look at its trace", run: () => (location.hash = `#/traces/${trace}`) } });
    location.hash = LIST;
  } catch (error) {
    button.disabled = false;
    replace(trouble, problemBox(error));
  }
}

async function discard(letter, button, trouble) {
  const after = letter.document_id ? ` Its document ${letter.document_id} stays as it is.` : "";
  if (!(await confirm("Discard this dead letter?", `The message is gone for good and can't be sent again.${after}`, "Discard", { danger: true }))) return;
  button.disabled = true;
  try {
    await remove(`${LETTERS}/${letter.seq}`);
    toast("Discarded.");
    location.hash = LIST;
  } catch (error) {
    button.disabled = false;
    replace(trouble, problemBox(error));
  }
}
