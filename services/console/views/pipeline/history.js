// The last minutes of every stage, as long as this page has looked, and lines that show them.

import { svg } from "../../lib/dom.js";
import { count } from "../../lib/format.js";

export const SPAN_MS = 300_000;
// A pause this long was not looked at: no line leads across it.
const GAP_MS = 20_000;
const HEIGHT = 24;
const WIDTH = 100;

/** Keeps samples of `SPAN_MS`; `series` returns the figures of one stage as `[moment, value]`. */
export class History {
  #samples = [];

  add(moment, stages) {
    this.#samples.push({ moment, stages: new Map(stages.map((stage) => [stage.name, stage])) });
    while (this.#samples[0].moment < moment - SPAN_MS) this.#samples.shift();
  }

  series(name, figure) {
    return this.#samples.map(({ moment, stages }) => [moment, stages.get(name)?.[figure] ?? null]).filter(([, value]) => value !== null);
  }
}

/** Return `{node, show(points, now)}`: a small line of `[moment, value]` over the last minutes. */
export function sparkline(label) {
  const area = svg("path", { class: "spark-area" });
  const line = svg("path", { class: "spark-line" });
  const node = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, area, line);

  function show(points, now) {
    const most = Math.max(...points.map(([, value]) => value), 0);
    const at = ([moment, value]) => [round(WIDTH * (1 - (now - moment) / SPAN_MS)), round(HEIGHT - 2 - (HEIGHT - 4) * (most ? value / most : 0))];
    const runs = unbroken(points).filter((run) => run.length > 1).map((run) => run.map(at));
    line.setAttribute("d", runs.map((run) => `M${run.join("L")}`).join(""));
    area.setAttribute("d", runs.map((run) => `M${run[0][0]},${HEIGHT}L${run.join("L")}L${run.at(-1)[0]},${HEIGHT}Z`).join(""));
    node.setAttribute("aria-label", `${label}, last 5 minutes: at most ${count(most)}`);
  }

  return { node, show };
}

function unbroken(points) {
  const runs = [];
  let last = -Infinity;
  for (const point of points) {
    if (point[0] - last > GAP_MS) runs.push([]);
    runs.at(-1).push(point);
    last = point[0];
  }
  return runs;
}

function round(value) {
  return Math.round(value * 10) / 10;
}
