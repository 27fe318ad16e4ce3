// Where the time of a trace went, in words. Every moment is given to one thing, so that the parts add up to the whole.

import { duration } from "../../lib/format.js";

const MOST_PARTS = 4;
// A part below this share of the whole is told among the others.
const LEAST_SHARE = 0.02;
// Who answers or asks over the network may do nothing but wait for others; the rest work.
const MAY_WAIT = new Set(["server", "client", "producer"]);
const LONGEST_CLIMB = 64;
const ELSEWHERE = "on other things";
const NOTHING = "in which nothing was recorded";

/** Return a sentence: "1.2 s in all: 800 ms waiting for the parser, 210 ms embedding, 190 ms parsing". */
export function inWords(rows, { begin, total }) {
  const parts = partsOf(rows, begin, total);
  const told = parts.slice(0, MOST_PARTS).filter(([, ms]) => ms >= total * LEAST_SHARE);
  const rest = total - told.reduce((sum, [, ms]) => sum + ms, 0);
  const named = told.map(([what, ms]) => `${duration(ms)} ${what}`);
  if (rest > total * LEAST_SHARE) named.push(`${duration(rest)} ${ELSEWHERE}`);
  return named.length ? `${duration(total)} in all: ${named.join(", ")}.` : `${duration(total)} in all.`;
}

/** Return `[what, ms]` of all that the time went to, the longest first. */
export function partsOf(rows, begin, total) {
  const sums = new Map();
  const end = begin + total;
  const changes = rows.flatMap((row) => [
    ...(row.waited > 0 ? [{ at: row.start - row.waited, row, list: "waits", on: true }, { at: row.start, row, list: "waits", on: false }] : []),
    { at: row.start, row, list: "works", on: true },
    { at: row.end, row, list: "works", on: false },
  ]).sort((one, other) => one.at - other.at);
  const active = { waits: new Set(), works: new Set() };
  let last = begin;
  for (const { at, row, list, on } of changes) {
    const ms = Math.min(at, end) - last;
    if (ms > 0) {
      const what = doing(active);
      sums.set(what, (sums.get(what) ?? 0) + ms);
      last = at;
    }
    if (on) active[list].add(row);
    else active[list].delete(row);
  }
  return [...sums].sort(([, one], [, other]) => other - one);
}

function doing({ waits, works }) {
  let deepest = null;
  for (const row of works) if (!deepest || row.depth > deepest.depth || (row.depth === deepest.depth && row.start > deepest.start)) deepest = row;
  const wait = first(waits, (row) => !deepest || (MAY_WAIT.has(deepest.span.kind) && isBelow(row, deepest)));
  if (wait) return `waiting for the ${wait.span.service}`;
  return deepest ? working(deepest) : NOTHING;
}

/** Return the wait that ends next of those that count. */
function first(waits, counts) {
  let found = null;
  for (const row of waits) if (counts(row) && (!found || row.start < found.start)) found = row;
  return found;
}

function isBelow(row, ancestor) {
  let above = row.parent;
  for (let climbed = 0; above && climbed < LONGEST_CLIMB; climbed += 1) {
    if (above === ancestor) return true;
    above = above.parent;
  }
  return false;
}

function working(row) {
  const { service, name } = row.span;
  if (name.startsWith("chat ")) return "by the language model";
  const asked = entry(row).span.kind !== "consumer";
  if (service === "gateway") return "at the gateway";
  if (service === "parser") return "parsing";
  if (service === "embedder") return "embedding";
  if (service === "agent") return "answering";
  if (service === "retriever") return asked ? "searching" : "indexing";
  if (service === "persistence") return asked ? "looking things up" : "recording";
  return `in ${service}`;
}

/** Return the span with which the work came to the service. */
function entry(row) {
  let found = row;
  for (let climbed = 0; found.parent?.span.service === row.span.service && climbed < LONGEST_CLIMB; climbed += 1) found = found.parent;
  return found;
}
