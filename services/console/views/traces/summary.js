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

/**
 * Return sentences: "1.2 s in all: 800 ms waiting for the parser, 210 ms embedding, 190 ms parsing." Where the caller had
 * its answer before all was done, what came after it is told apart.
 */
export function inWords(rows, whole) {
  const { begin, total } = whole;
  const answered = answeredAfter(rows, whole);
  if (answered > total * (1 - LEAST_SHARE)) return `${duration(total)} in all${listed(rows, begin, total)}.`;
  const later = total - answered;
  return `Answered after ${duration(answered)}${listed(rows, begin, answered)}. Then ${duration(later)} behind the answer${listed(rows, begin + answered, later)}.`;
}

/** Return after how many milliseconds the caller had its answer: at the end where nobody waited for one. */
export function answeredAfter([request], { begin, total }) {
  return request.span.kind === "server" ? request.end - begin : total;
}

function listed(rows, from, length) {
  const parts = partsOf(rows, from, length);
  const told = parts.slice(0, MOST_PARTS).filter(([, ms]) => ms >= length * LEAST_SHARE);
  const rest = length - told.reduce((sum, [, ms]) => sum + ms, 0);
  const named = told.map(([what, ms]) => `${duration(ms)} ${what}`);
  if (named.length && rest > length * LEAST_SHARE) named.push(`${duration(rest)} ${ELSEWHERE}`);
  return named.length ? `: ${named.join(", ")}` : "";
}

/** Return `[what, ms]` of all that went on for `length` ms from `from`, the longest first. */
export function partsOf(rows, from, length) {
  const sums = new Map();
  const end = from + length;
  const active = { waits: new Set(), works: new Set() };
  let last = from;
  for (const { at, row, list, on } of changesOf(rows)) {
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

function changesOf(rows) {
  const changes = rows.flatMap((row) => [
    ...(row.waited > 0 ? [{ at: row.start - row.waited, row, list: "waits", on: true }, { at: row.start, row, list: "waits", on: false }] : []),
    { at: row.start, row, list: "works", on: true },
    { at: row.end, row, list: "works", on: false },
  ]);
  return changes.sort((one, other) => one.at - other.at);
}

function doing({ waits, works }) {
  let deepest = null;
  for (const row of works) if (!deepest || row.depth > deepest.depth || (row.depth === deepest.depth && row.start > deepest.start)) deepest = row;
  const wait = first(waits, (row) => !deepest || (MAY_WAIT.has(deepest.span.kind) && isBelow(row, deepest)));
  if (wait) return `waiting for ${wait.span.service === "persistence" ? "" : "the "}${wait.span.service}`;
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
