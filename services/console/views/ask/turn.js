// A question and its answer on the page.

import { problemBox, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { duration } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { patch } from "./cited_text.js";
import { asMarkdown, copy } from "./copying.js";
import { feedback } from "./feedback.js";
import { nearest } from "./nearest.js";
import { placeIn } from "./places.js";
import { stepList } from "./steps.js";

const NO_CITATIONS = new Map();

/**
 * Return `{node, turn, update(), trouble(attempt)}`; `update` shows what the turn has become.
 *
 * `makeText` is what `citedTextMaker` resolves to; `onretry()` is called for an answer that failed, `onsource(n)` for a marker,
 * `onhit(hit)` for a passage.
 */
export function turnView(turn, { makeText, signal, onretry, onsource, onhit }) {
  const steps = stepList();
  const text = h("div", { class: "prose", "aria-live": "polite", onclick: marked });
  const status = h("p", { class: "row soft turn-status", role: "status" });
  const tail = h("div", { class: "turn-tail" });
  const node = h("article", { class: "turn", "aria-label": turn.question },
    h("h2", { class: "question" }, turn.question), steps.node, status, text, tail);
  let attempt = null;
  let ended = false;
  let frame = 0;

  function update() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      render();
    });
  }

  function render() {
    const running = turn.status === "running";
    text.setAttribute("aria-busy", String(running));
    steps.show(turn);
    patch(text, makeText(turn.text, knownOf(turn)));
    replace(status, running && [h("span", { class: "spinner" }), attempt ? "The connection broke. Trying again" : doing(turn)]);
    status.hidden = !running;
    if (!running && !ended) replace(tail, tailOf());
    if (running) replace(tail);
    ended = !running;
  }

  function tailOf() {
    const { thumbs, below } = feedback(turn);
    const answer = turn.status === "done";
    return [
      turn.status === "stopped" && h("p", { class: "note" }, icon("stop"), "You stopped this answer. What was written so far stays here until you leave."),
      turn.problem && problemBox(turn.problem, onretry),
      turn.shortened && h("p", { class: "note" }, "Too long to be kept in full: its sources or its end are missing."),
      answer && !turn.answered && [h("p", { class: "note" }, icon("search"), "No passage answers this. Other words, another collection, or the agent may find more."), nearest(turn, onhit, signal)],
      turn.citations?.length > 0 && sources(turn.citations, onsource),
      h("div", { class: "row turn-foot" },
        turn.text && h("button", { class: "quiet small", onclick: copied }, icon("copy"), "Copy"),
        answer && thumbs,
        h("span", { class: "grow" }),
        turn.cached && h("span", { class: "badge accent", title: "Nothing has changed since this was answered before" }, "cached"),
        turn.tookMs !== null && answer && h("span", { class: "small soft", title: "From the question to the end of the answer" }, duration(turn.tookMs)),
        turn.traceId && h("a", { class: "small", href: `#/traces/${turn.traceId}` }, "Trace")),
      below,
    ];
  }

  function marked(event) {
    const button = event.target.closest("button.cite");
    if (button) onsource(Number(button.dataset.n));
  }

  async function copied() {
    try {
      await copy(asMarkdown(turn));
      toast("Copied as Markdown");
    } catch (error) {
      toast(`Not copied: ${error.message}`, { bad: true });
    }
  }

  function trouble(number) {
    attempt = number;
    update();
  }

  render();
  return { node, turn, update, trouble };
}

function knownOf({ citations, status }) {
  if (citations) return new Map(citations.map((citation) => [citation.n, citation]));
  return status === "running" ? null : NO_CITATIONS;
}

function doing({ text, hits, steps, mode }) {
  if (text) return "Writing";
  if (mode === "agent") return steps.at(-1)?.kind === "llm" ? "Using tools" : "Thinking";
  return hits ? "Reading what was found" : "Searching";
}

function sources(citations, onsource) {
  return h("ol", { class: "sources", "aria-label": "Sources" }, citations.map((citation) => h("li", {},
    h("button", { class: "source-link", onclick: () => onsource(citation.n) },
      h("span", { class: "cite-number" }, String(citation.n)),
      h("span", { class: "ellipsis" }, citation.title ?? citation.document_id),
      placeIn(citation) && h("span", { class: "small soft ellipsis" }, placeIn(citation))))));
}
