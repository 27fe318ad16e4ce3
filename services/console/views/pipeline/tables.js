// Every figure of every stage and stream, exactly.

import { h } from "../../lib/dom.js";
import { bytes, count } from "../../lib/format.js";
import { UNKNOWN, age, deadLink, put, rate, whole } from "./cells.js";
import { sparkline } from "./history.js";
import { STAGES } from "./state.js";

const STAGE_COLUMNS = [
  ["Waiting", "Messages that were not delivered yet"],
  ["In work", "Messages that somebody works on"],
  ["Again", "Messages in work that came more than once"],
  ["Per second", "Messages finished in a second, over the last minute"],
  ["Oldest", "Age of the oldest message that is not finished"],
  ["Consumers", "Replicas that take from it"],
  ["Dead letters", "Messages that could not be processed, of all tenants"],
];

/** Return `{node, show(state, history, now)}`: a row for each stage. */
export function stageTable() {
  const rows = new Map();
  const body = h("tbody", {});
  const node = h("table", { class: "figures" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Stage"), STAGE_COLUMNS.map(([name, tip]) => h("th", { scope: "col", class: "number", title: tip }, name)), h("th", { scope: "col" }, "Waiting, last 5 minutes"))),
    body);

  function show(state, history, now) {
    for (const stage of state.stages) {
      if (!rows.has(stage.name)) rows.set(stage.name, stageRow(body, stage.name));
      rows.get(stage.name)(stage, history, now);
    }
  }

  return { node, show };
}

function stageRow(body, name) {
  const cells = STAGE_COLUMNS.map(() => h("td", { class: "number" }));
  const dead = deadLink(name);
  const none = h("span", {}, UNKNOWN);
  cells.at(-1).append(none, dead.node);
  const spark = sparkline(`${name}: messages waiting`);
  body.append(h("tr", { dataset: { stage: name } },
    h("th", { scope: "row" }, h("span", { class: "mono" }, name), h("span", { class: "small soft does" }, STAGES[name]?.does ?? "")), cells, h("td", { class: "spark-cell" }, spark.node)));
  return (stage, history, now) => {
    const texts = [whole(stage.backlog), whole(stage.inFlight), whole(stage.redelivered), rate(stage.rate), age(stage.ageMs), whole(stage.consumers)];
    texts.forEach((text, place) => put(cells[place], text));
    dead.show(stage.dead);
    none.hidden = Boolean(stage.dead);
    put(none, whole(stage.dead));
    spark.show(history.series(name, "backlog"), now);
  };
}

/** Return `{node, show(state)}`: a row for each stream, with how full it is. */
export function streamTable() {
  const rows = new Map();
  const body = h("tbody", {});
  const node = h("table", { class: "figures" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Stream"), ["Messages", "Size", "Most"].map((name) => h("th", { scope: "col", class: "number" }, name)), h("th", { scope: "col" }, "Full"))),
    body);

  function show({ streams }) {
    for (const stream of streams) {
      if (!rows.has(stream.name)) rows.set(stream.name, streamRow(body, stream.name));
      rows.get(stream.name)(stream);
    }
  }

  return { node, show };
}

function streamRow(body, name) {
  const cells = [0, 1, 2].map(() => h("td", { class: "number" }));
  const meter = h("progress", { max: 1, value: 0, "aria-label": `${name} is full` });
  const share = h("span", { class: "small soft" });
  body.append(h("tr", { dataset: { stream: name } }, h("th", { scope: "row", class: "mono" }, name), cells, h("td", { class: "full-cell" }, meter, share)));
  return ({ messages, bytes: held, max_bytes: most }) => {
    const bounded = most > 0;
    [count(messages), bytes(held), bounded ? bytes(most) : UNKNOWN].forEach((text, place) => put(cells[place], text));
    meter.hidden = !bounded;
    meter.value = bounded ? held / most : 0;
    put(share, bounded ? percent(held / most) : "no bound");
  };
}

function percent(share) {
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}
