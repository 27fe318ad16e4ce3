// What becomes of the files that were added: one line each, and a summary.

import { h, replace } from "../../lib/dom.js";
import { bytes, count, counted } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { addressOf } from "./addresses.js";
import { reasonOf } from "./reasons.js";
import { statusBadge } from "./rows.js";

// More lines than anybody reads; those that failed are shown in any case.
const MOST_LINES = 200;
const ENDS = ["indexed", "failed", "refused", "unsent", "stopped", "deleted"];
const WORRIES = new Set(["failed", "refused", "unsent"]);
const OWN_BADGES = {
  waiting: ["Waiting to be sent", ""],
  refused: ["Not sent", "bad"],
  unsent: ["Not sent", "warn"],
  stopped: ["Stopped", ""],
};

/** Return `{node, stop()}` that shows uploads as they change. */
export function uploadPanel(uploads) {
  const lines = new Map();
  const heading = h("h2", {});
  const bar = h("progress", { max: "1", "aria-label": "Sent and indexed" });
  const said = h("p", { class: "visually-hidden", role: "status" });
  const note = h("p", { class: "note small", hidden: true, role: "status" });
  const list = h("ul", { class: "files", tabindex: "0", "aria-label": "Files" });
  const beyond = h("p", { class: "small soft", hidden: true });
  const stop = h("button", { onclick: () => uploads.stop() }, icon("stop"), "Stop sending");
  const retry = h("button", { onclick: () => uploads.retry() }, icon("refresh"), "Try again");
  const clear = h("button", { class: "quiet", onclick: () => uploads.clear() }, icon("close"), "Clear");
  const node = h("section", { class: "card uploads stack", "aria-label": "Added files", hidden: true },
    h("div", { class: "row" }, h("div", { class: "grow" }, heading), stop, retry, clear), bar, note, said, list, beyond);
  let asked = false;
  let wasPending = false;

  function draw() {
    asked = false;
    const { items } = uploads;
    node.hidden = items.length === 0;
    const counts = grouped(items);
    const number = (...states) => states.reduce((sum, state) => sum + (counts[state]?.length ?? 0), 0);
    const done = number(...ENDS);
    heading.textContent = headingOf(items.length, done, number);
    // Sending is the first half of the way.
    bar.value = items.length ? items.reduce((sum, item) => sum + (ENDS.includes(item.state) ? 1 : item.progress / 2), 0) / items.length : 0;
    bar.hidden = done === items.length;
    [note.hidden, note.textContent] = [uploads.note === null, uploads.note ?? ""];
    [stop.hidden, retry.hidden, clear.hidden] = [!uploads.busy, number("unsent") === 0, done === 0];
    drawLines(items);
    if (wasPending && !uploads.pending) said.textContent = heading.textContent;
    wasPending = uploads.pending;
  }

  function drawLines(items) {
    const shown = items.filter((item, index) => index < MOST_LINES || WORRIES.has(item.state));
    for (const item of lines.keys()) if (!shown.includes(item)) (lines.get(item).node.remove(), lines.delete(item));
    shown.forEach((item, index) => {
      if (!lines.has(item)) lines.set(item, fileLine(item));
      const line = lines.get(item);
      line.draw();
      if (list.children[index] !== line.node) list.insertBefore(line.node, list.children[index] ?? null);
    });
    beyond.hidden = shown.length === items.length;
    beyond.textContent = `${count(items.length - shown.length)} more files are not listed here; any that fails will be.`;
  }

  const onchange = () => {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  };
  uploads.addEventListener("change", onchange);
  draw();
  return { node, stop: () => uploads.removeEventListener("change", onchange) };
}

function grouped(items) {
  const found = {};
  for (const item of items) (found[item.state] ??= []).push(item);
  return found;
}

function headingOf(all, done, number) {
  const outcome = [
    number("indexed") && `${count(number("indexed"))} indexed`,
    number("failed") && `${count(number("failed"))} failed`,
    number("refused", "unsent") && `${count(number("refused", "unsent"))} not sent`,
    number("stopped") && `${count(number("stopped"))} stopped`,
  ].filter(Boolean).join(", ");
  if (done === all) return `${counted(all, "file")}: ${outcome || "deleted"}`;
  return `Adding ${counted(all, "file")}${outcome && `: ${outcome} so far`}`;
}

function fileLine(item) {
  const state = h("span", { class: "state" });
  const words = h("div", { class: "words small" });
  const name = h("div", { class: "ellipsis", title: item.path }, item.path);
  const node = h("li", {}, h("div", { class: "file" }, name, h("span", { class: "small soft size" }, bytes(item.file.size)), state), words);
  let written = null;
  function draw() {
    const now = JSON.stringify([item.state, Math.round(item.progress * 20), item.words, item.error, item.chunks]);
    if (now === written) return;
    written = now;
    replace(state, stateOf(item));
    replace(words, wordsOf(item));
    if (item.state === "indexed") replace(name, h("a", { href: addressOf(item.documentId) }, item.path));
  }
  return { node, draw };
}

function stateOf({ state, progress, path }) {
  if (state === "sending") return h("progress", { max: "1", value: String(progress), "aria-label": `Sending ${path}` });
  if (!Object.hasOwn(OWN_BADGES, state)) return statusBadge(state);
  const [label, tone] = OWN_BADGES[state];
  return h("span", { class: `badge ${tone}`, dataset: { status: state } }, label);
}

function wordsOf({ state, words, error }) {
  if (state !== "failed" || !error) return words && h("span", { class: WORRIES.has(state) ? "reason" : "soft" }, words);
  const { what, todo, detail } = reasonOf(error);
  return [h("span", { class: "reason" }, `${what} ${todo}`.trim()), detail && h("span", { class: "soft" }, ` ${detail}`)];
}
