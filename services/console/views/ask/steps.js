// What was done for an answer: a line for each step, which folds out.

import { h, replace } from "../../lib/dom.js";
import { counted, duration } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";

/** Return `{node, show(turn)}`; steps that are shown stay as they are, folded out or not. */
export function stepList() {
  const list = h("ol", { class: "steps-list" });
  const summary = h("summary", {});
  const node = h("details", { class: "steps", hidden: true }, summary, list);
  let shown = 0;

  function show(turn) {
    const lines = linesOf(turn);
    if (lines.length < shown) (replace(list), (shown = 0));
    list.append(...lines.slice(shown).map((make) => h("li", {}, make())));
    shown = lines.length;
    node.hidden = shown === 0;
    replace(summary, icon("chevron"), titleOf(turn));
  }
  return { node, show };
}

function titleOf({ steps, hits, status }) {
  const tools = steps.filter((step) => step.kind === "tool");
  const ms = steps.reduce((sum, step) => sum + (step.duration_ms ?? 0), 0);
  if (tools.length || ms) return [`${counted(tools.length, "tool call")} `, h("span", { class: "soft" }, status === "running" ? "so far" : `in ${duration(ms)}`)];
  if (hits) return `Looked at ${counted(hits.length, "passage")}`;
  return "How the question was understood";
}

function linesOf({ steps, hits }) {
  const found = steps.map((step) => () => (MAKERS[step.kind] ?? other)(step));
  if (hits?.length) found.push(() => retrieval(hits));
  return found;
}

const MAKERS = { tool, llm, budget, rewritten, not_rewritten: notRewritten };

function tool({ tool: name, arguments: given, result, failed, duration_ms: ms }) {
  const first = Object.values(given).find((value) => typeof value === "string");
  return h("details", { class: "step" },
    h("summary", {},
      icon("chevron"),
      h("span", { class: "step-what ellipsis" }, h("code", {}, name), first && h("span", { class: "soft" }, ` ${first}`)),
      failed && h("span", { class: "badge bad" }, "failed"),
      h("span", { class: "soft small step-time" }, duration(ms))),
    h("dl", {},
      h("dt", {}, "Arguments"), h("dd", {}, h("pre", { tabindex: "0" }, JSON.stringify(given, null, 2))),
      h("dt", {}, failed ? "Failure" : "Result"), h("dd", {}, h("pre", { tabindex: "0" }, result))));
}

function llm({ result, duration_ms: ms }) {
  return line(["The model ", result], h("span", { class: "soft small step-time" }, duration(ms)));
}

function budget({ budget: name, result }) {
  return line([h("span", { class: "badge warn" }, `${name} spent`), " ", result]);
}

function rewritten({ question }) {
  return line(["Understood as: ", h("q", {}, question)]);
}

function notRewritten({ code }) {
  return line(["Taken word for word: what was said before could not be used ", h("code", {}, code)]);
}

function other(step) {
  return line([h("code", {}, step.kind), " ", step.result ?? ""]);
}

function retrieval(hits) {
  const titles = new Map(hits.map((hit) => [hit.document_id, hit.title ?? hit.document_id]));
  return h("details", { class: "step" },
    h("summary", {}, icon("chevron"), h("span", { class: "step-what" }, `${counted(hits.length, "passage")} of ${counted(titles.size, "document")} found`)),
    h("ul", {}, [...titles].map(([id, title]) => h("li", {}, h("a", { href: `#/documents/${encodeURIComponent(id)}` }, title)))));
}

function line(words, time = null) {
  return h("div", { class: "step-line" }, h("span", { class: "grow" }, words), time);
}
