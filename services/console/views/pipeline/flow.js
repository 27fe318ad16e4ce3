// The services as a picture: boxes are parts, what lies between them are streams. Documents go from left to right in the
// first row, questions in the second; the third is what is kept of both.

import { h, replace } from "../../lib/dom.js";
import { counted } from "../../lib/format.js";
import { UNKNOWN, age, deadLink, put, rate, whole } from "./cells.js";
import { sparkline } from "./history.js";
import { STAGES } from "./state.js";

const PARTS = {
  gateway: "takes documents and questions",
  parser: "reads documents",
  embedder: "makes vectors",
  retriever: "holds the index, searches",
  agent: "answers questions",
  persistence: "keeps documents' states, conversations, traces",
};
// What each stream brings to whom, and the stage that takes it.
const PIPES = [
  { stream: "INGEST", stage: "parser", what: "documents" },
  { stream: "CHUNKS", stage: "embedder", what: "chunks" },
  { stream: "VECTORS", stage: "retriever", what: "vectors" },
  { stream: "QUERIES", stage: "agent", what: "questions" },
  { stream: "FACTS", stage: "persistence", what: "facts of every part" },
];
const ORDER = ["gateway", "INGEST", "parser", "CHUNKS", "embedder", "VECTORS", "retriever", "QUERIES", "agent", "search", "FACTS", "persistence"];

/** Return `{node, show(state, history, now)}`. */
export function flow() {
  const pieces = {
    ...Object.fromEntries(Object.entries(PARTS).map(([name, does]) => [name, part(name, does)])),
    ...Object.fromEntries(PIPES.map((one) => [one.stream, pipe(one)])),
    search: { node: h("div", { class: "pipe pipe-search" }, h("span", { class: "pipe-name" }, "searches"), arrow()), show() {} },
  };
  const node = h("section", { class: "flow", "aria-label": "The pipeline" }, ORDER.map((name) => pieces[name].node));
  return { node, show: (...seen) => Object.values(pieces).forEach((piece) => piece.show(...seen)) };
}

function arrow() {
  return h("div", { class: "arrow", "aria-hidden": "true" }, h("div", { class: "arrow-line" }));
}

function pipe({ stream, stage, what }) {
  const waiting = h("strong", {}, UNKNOWN);
  const oldest = h("span", {});
  const line = arrow();
  const spark = sparkline(`${what} waiting`);
  const fill = h("div", { class: "fill-level" });
  const full = h("div", { class: "fill", role: "img", hidden: true }, fill);
  const node = h("div", { class: `pipe pipe-${stream.toLowerCase()}`, role: "group", "aria-label": `Stream ${stream}: ${what}` },
    h("span", { class: "pipe-name" }, what), h("span", { class: "pipe-waiting" }, waiting, " waiting"), line, spark.node, h("span", { class: "pipe-oldest small soft" }, oldest), full);

  function show(state, history, now) {
    const found = state.stages.find((one) => one.name === stage);
    if (!found) return;
    put(waiting, whole(found.backlog));
    put(oldest, found.ageMs === null ? "" : `oldest ${age(found.ageMs)}`);
    line.classList.toggle("moving", found.rate > 0);
    node.classList.toggle("held-up", found.backlog > 0 && found.consumers === 0);
    spark.show(history.series(stage, "backlog"), now);
    const held = state.streams.find((one) => one.name === stream);
    full.hidden = !held || held.max_bytes <= 0;
    if (!full.hidden) level(full, fill, stream, held);
  }

  return { node, show };
}

function level(full, fill, stream, { bytes, max_bytes: most }) {
  const share = Math.min(bytes / most, 1);
  fill.style.setProperty("inline-size", `${share * 100}%`);
  full.classList.toggle("nearly-full", share > 0.8);
  full.setAttribute("aria-label", `${stream} is ${Math.round(share * 100)} % full`);
  full.title = `${stream} is ${Math.round(share * 100)} % full`;
}

function part(name, does) {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  const ready = h("span", { class: "small" }, UNKNOWN);
  const stages = Object.keys(STAGES).filter((stage) => STAGES[stage].part === name).map((stage) => ({ stage, ...stageRows(stage) }));
  const shown = h("div", { class: "part-stages" });
  const about = h("p", { class: "small soft part-about" });
  const node = h("article", { class: `part part-${name}`, "aria-label": name },
    h("h2", {}, dot, name), h("div", { class: "part-ready soft" }, ready), h("p", { class: "small soft" }, does), shown, about);
  replace(shown, stages.map((one) => one.node));

  function show(state, history, now) {
    const found = state.parts.find((one) => one.name === name) ?? { ready: 0, replicas: 0 };
    node.classList.toggle("down", found.ready === 0);
    put(about, state.about[name] ?? "");
    put(ready, found.replicas === 0 ? "down" : found.ready === found.replicas ? counted(found.ready, "replica") : `${found.ready} of ${counted(found.replicas, "replica")} ready`);
    for (const one of stages) one.show(state.stages.find((each) => each.name === one.stage), history, now, stages.length > 1);
  }

  return { node, show };
}

function stageRows(stage) {
  const figures = { work: h("dd", {}), rate: h("dd", {}) };
  const dead = deadLink(stage);
  const spark = sparkline(`${stage}: messages a second`);
  const node = h("div", { class: "part-stage" }, h("div", { class: "small stage-does" }, STAGES[stage].does), h("dl", {}, h("dt", {}, "in work"), figures.work, h("dt", {}, "per second"), figures.rate), spark.node, dead.node);

  function show(found, history, now, named) {
    node.classList.toggle("one", !named);
    if (!found) return;
    put(figures.work, whole(found.inFlight));
    put(figures.rate, rate(found.rate));
    spark.show(history.series(stage, "rate"), now);
    dead.show(found.dead);
  }

  return { node, show };
}
