// Running an answer: its events change the turn, until it ends, is stopped, or fails.

import { answerEvents } from "./answer_events.js";
import { forgetRunning, keepRunning } from "./running.js";
import { apply } from "./turn_state.js";

/**
 * Resolve once the answer of a turn has ended, however it did; `onchange()` is called after every event.
 *
 * A turn that has a query id is read from the beginning, any other is asked in `conversation`, null for a new one.
 */
export async function run(turn, conversation, { signal, onchange, ontrouble }) {
  Object.assign(turn, { status: "running", problem: null, text: "", steps: [], hits: null, citations: null });
  const { question, mode, collection, queryId } = turn;
  const source = queryId === null ? { body: { question, mode, collection, conversation_id: conversation ?? "new" } } : { queryId };
  try {
    for await (const event of answerEvents(source, { signal, ontrouble })) {
      apply(turn, event);
      if (event.event === "accepted") keepRunning(turn, conversation);
      onchange();
    }
  } catch (problem) {
    if (signal.aborted) return;
    Object.assign(turn, { status: "failed", problem, resumable: turn.queryId !== null && problem.status !== 404 });
    onchange();
  }
  if (!turn.resumable) forgetRunning();
}

/** Mark a turn as stopped by its reader; the platform ends the work on what nobody reads. */
export function stopped(turn) {
  turn.status = "stopped";
  forgetRunning();
}
