// An empty installation offers a sample: a few short texts about the platform itself, and questions they answer.

import { get, Problem, request, upload } from "../../lib/api.js";
import { problemBox } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { batch, formOf } from "./batches.js";
import { reasonOf } from "./reasons.js";
import { repeating } from "./repeating.js";

const SAMPLE = "console/samples/";
const LOOK_MS = 500;

/** Resolve to a node that offers the sample, or null where there are documents; `ask(question)` is called with one of its questions. */
export async function firstRun(ask) {
  const [{ items }, { scopes }] = await Promise.all([get("v1/collections"), get("v1/me")]);
  if (items.length) return null;
  const body = h("div", { class: "stack" });
  const heading = h("h2", {}, "Nothing here yet");
  const node = h("section", { class: "card first-run", "aria-label": "First steps" }, heading, body);
  if (!scopes.includes("ingest")) {
    replace(body, h("p", {}, "There are no documents, and this key may not add any. Ask for a key that may, or for documents."));
    return node;
  }
  const button = h("button", { class: "primary", onclick: () => ((heading.textContent = "The sample"), start(body, ask)) }, icon("plus"), "Load the sample");
  replace(body,
    h("p", {}, "Add documents of your own, or begin with a sample: a few short texts about this platform, and three questions to ask about them. You can delete it again at any time."),
    h("div", { class: "row" }, button));
  return node;
}

async function start(body, ask) {
  const bar = h("progress", { max: "1", value: "0", "aria-label": "Sample" });
  const said = h("p", { role: "status" }, "Sending the sample");
  replace(body, said, bar);
  try {
    const sample = await get(`${SAMPLE}sample.json`);
    const files = await Promise.all(sample.files.map(fileOf));
    const form = formOf(batch(files.map((file) => ({ file, path: file.name, collection: sample.collection, as: { id: `sample-${file.name}`, title: titleOf(file.name) } }))));
    const { documents } = await upload("v1/documents", form);
    await indexed(documents, body, (done) => {
      bar.value = done / documents.length;
      said.textContent = `${done} of ${counted(documents.length, "document")} indexed`;
    });
    const first = questionButton(sample.questions[0], ask);
    replace(body, h("p", { role: "status" }, `${counted(documents.length, "document")} can be asked now, in the collection “${sample.collection}”. Try one of these:`),
      h("div", { class: "questions" }, first, sample.questions.slice(1).map((question) => questionButton(question, ask))));
    first.focus();
  } catch (error) {
    replace(body, problemBox(error, () => start(body, ask)));
  }
}

function questionButton(question, ask) {
  return h("button", { onclick: () => ask(question) }, icon("ask"), question);
}

async function fileOf(name) {
  const response = await request(`${SAMPLE}${name}`);
  return new File([await response.blob()], name.replace(/txt$/, "md"), { type: "text/markdown" });
}

function titleOf(name) {
  const words = name.replace(/\.md$/, "").replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Resolve once all are indexed; rejects with why one is not. Nobody looks any more once `node` has left the page. */
function indexed(receipts, node, ondone) {
  const query = new URLSearchParams([["limit", receipts.length], ...receipts.map(({ id }) => ["id", id])]);
  const revisions = new Map(receipts.map(({ id, revision }) => [id, revision]));
  return new Promise((resolve, reject) => {
    const looking = repeating(async (signal) => {
      if (!node.isConnected) return looking.stop();
      const { items } = await get(`v1/documents?${query}`, {}, { signal });
      const current = items.filter((view) => view.revision >= revisions.get(view.id));
      const failed = current.find(({ status }) => status === "failed");
      const done = current.filter(({ status }) => status === "indexed").length;
      ondone(done);
      if (failed) reject(new Problem(422, { detail: `“${failed.title}” could not be indexed. ${reasonOf(failed.error).what}` }));
      else if (done === receipts.length) resolve();
      else return;
      looking.stop();
    }, () => LOOK_MS);
  });
}
