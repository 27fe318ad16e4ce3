// The events of an answer, each once and in order, across connections that break.

import { Problem } from "../../lib/api.js";
import { events } from "../../lib/events.js";

const TERMINAL = new Set(["done", "error"]);
// A gateway that is restarted is back within seconds; the agent waits 30 s for a reader.
const MAX_ATTEMPTS = 8;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 8000;
const TEMPORARY = new Set([0, 429, 500, 502, 503]);

/**
 * Yield the events of an answer, `done` or `error` last. `body` asks a question, `queryId` reads its answer from the beginning.
 *
 * A connection that breaks is resumed behind the last event; `ontrouble` hears of each try, and null once it is over.
 * Throws Problem when there is no way on, AbortError when `signal` says so.
 */
export async function* answerEvents({ body = null, queryId = null }, { signal, ontrouble = () => {} } = {}) {
  let lastId = "0";
  let failures = 0;
  for (let source = queryId === null ? asked(body, signal) : resumed(queryId, lastId, signal); ; source = resumed(queryId, lastId, signal)) {
    let trouble = null;
    try {
      for await (const event of source) {
        if (failures) ontrouble(null);
        failures = 0;
        if (event.event === "accepted") queryId = event.data.id;
        lastId = event.id ?? lastId;
        yield event;
        if (TERMINAL.has(event.event)) return;
      }
    } catch (problem) {
      if (problem.name !== "Problem" || !TEMPORARY.has(problem.status)) throw problem;
      trouble = problem;
    }
    if (queryId === null) throw trouble ?? new Problem(0, { detail: "The connection broke before the question was accepted." });
    failures += 1;
    if (failures > MAX_ATTEMPTS) throw trouble ?? new Problem(0, { detail: "The connection broke again and again before the answer ended." });
    ontrouble(failures);
    await pause(trouble?.retryAfter ? trouble.retryAfter * 1000 : Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), MAX_PAUSE_MS), signal);
  }
}

function asked(body, signal) {
  return events("v1/query", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...body, stream: true }), signal });
}

function resumed(queryId, lastId, signal) {
  return events(`v1/queries/${encodeURIComponent(queryId)}/events`, { headers: { "Last-Event-ID": lastId }, signal });
}

/** Wait, but no longer than until the network is back. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const end = (then) => () => (clearTimeout(timer), ended.abort(), then());
    const timer = setTimeout(end(resolve), ms);
    addEventListener("online", end(resolve), { signal: ended.signal });
    signal?.addEventListener("abort", end(() => reject(signal.reason)), { signal: ended.signal });
    if (signal?.aborted) end(() => reject(signal.reason))();
  });
}
