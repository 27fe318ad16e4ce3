// The live picture: asked again every few seconds, changed in place.

import { get } from "../../lib/api.js";
import { problemBox } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { poll } from "../../lib/polling.js";
import { flow } from "./flow.js";
import { History } from "./history.js";
import { stateOf } from "./state.js";
import { stageTable, streamTable } from "./tables.js";

const EVERY_MS = 2_500;
// It outlives the view: who comes back sees the minutes before.
const history = new History();

/** Show the picture and the tables below it; returns what ends it. */
export function showLive(place, caller) {
  const admin = caller.scopes.includes("admin");
  const trouble = h("div", { class: "stale" });
  const content = h("div", { class: "stack" }, h("p", { class: "row soft" }, h("span", { class: "spinner" }), "Loading"));
  replace(place, trouble, content);
  let shown = null;

  const polling = poll(async (signal) => {
    const [health, pipeline] = await Promise.all([
      get("health/detailed", {}, { signal }),
      admin ? get("v1/admin/pipeline", {}, { signal }) : null,
    ]);
    const now = Date.now();
    const state = stateOf(health, pipeline);
    history.add(now, state.stages);
    shown ??= build(content, caller, admin);
    for (const part of shown) part.show(state, history, now);
    replace(trouble);
  }, { everyMs: EVERY_MS, failed: (error) => failed(error) });

  function failed(error) {
    if (!shown) replace(content);
    replace(trouble, problemBox(error, polling.now), shown && h("p", { class: "small soft" }, "What stands below is from before."));
  }

  return polling.stop;
}

function build(content, caller, admin) {
  const picture = flow();
  const stages = stageTable();
  const streams = streamTable();
  replace(content,
    !admin && h("p", { class: "card small" }, `Rates, waiting times, streams and dead letters are shown to keys with the scope admin; this one has ${caller.scopes.join(", ") || "none"}.`),
    picture.node,
    h("section", { class: "card" }, h("h2", {}, "Stages"), h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Stages" }, stages.node)),
    admin && h("section", { class: "card" }, h("h2", {}, "Streams"), h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Streams" }, streams.node)));
  return [picture, stages, streams];
}
