// Pieces of the page that are changed in place, so that neither focus nor a selection is lost at each look.

import { h } from "../../lib/dom.js";
import { count } from "../../lib/format.js";

/** What stands where nothing is known. */
export const UNKNOWN = "–";

/** Write a text where another one stands. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Return a whole number as text. */
export function whole(value) {
  return value === null ? UNKNOWN : count(value);
}

/** Return a rate as text. */
export function rate(value) {
  return value === null ? UNKNOWN : value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

/** Return the age of the oldest message: nothing waits where there is none. */
export function age(ms) {
  if (ms === null) return UNKNOWN;
  const [size, unit] = ms < 120_000 ? [1_000, "s"] : ms < 7_200_000 ? [60_000, "min"] : ms < 172_800_000 ? [3_600_000, "h"] : [86_400_000, "days"];
  return ms < 1_000 ? "< 1 s" : `${count(Math.floor(ms / size))} ${unit}`;
}

/** Return `{node, show(number)}`: a link to the dead letters of a stage, nothing while there are none. */
export function deadLink(stage) {
  const node = h("a", { class: "badge bad", href: `#/pipeline/dead-letters?stage=${encodeURIComponent(stage)}`, hidden: true });
  return {
    node,
    show(number) {
      node.hidden = !number;
      put(node, `${whole(number ?? 0)} dead`);
      node.setAttribute("aria-label", `${whole(number ?? 0)} dead letters of ${stage}`);
    },
  };
}
