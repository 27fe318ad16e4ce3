// What is there before the first question.

import { load } from "../../lib/dialogs.js";
import { h } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";

/** Return a node; `collections()` resolves to those there are, `ask(question)` is called for a question that is offered. */
export function welcome(collections, ask) {
  const node = h("div", { class: "welcome" });
  load(node, async () => {
    const items = await collections();
    return items.length ? greeting(items) : invitation(ask);
  }, (content) => content);
  return node;
}

function greeting(items) {
  const documents = items.reduce((sum, item) => sum + item.documents, 0);
  return h("div", { class: "empty" },
    h("h2", {}, "What would you like to know?"),
    h("p", {}, `Answers come from ${counted(documents, "document")} in ${counted(items.length, "collection")}, and each claim shows where it comes from.`));
}

/** The sample is a module of the documents' view: it is loaded by those who have nothing yet. */
async function invitation(ask) {
  const { firstRun } = await import("../documents/first_run.js");
  return (await firstRun(ask)) ?? h("div", { class: "empty" },
    h("h2", {}, "There is nothing to ask about yet"),
    h("p", {}, "Bring some documents, then come back with a question."),
    h("a", { class: "button", href: "#/documents" }, "Add documents"));
}
