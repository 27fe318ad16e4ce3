// What is known of a question and its answer, and what each event adds to it.

import { Problem } from "../../lib/api.js";

/** Return a question whose answer has not begun; `status` becomes `done`, `stopped` or `failed`. */
export function newTurn({ question, mode, collection, startedAt = Date.now(), queryId = null }) {
  return { question, mode, collection, startedAt, queryId, conversationId: null, status: "running", text: "", steps: [], hits: null, citations: null, answered: null, cached: false, shortened: false, traceId: null, tookMs: null, rating: null, comment: null, problem: null };
}

/** Return a turn as `GET /v1/conversations/{id}` gives it. */
export function pastTurn(turn) {
  return {
    ...newTurn({ question: turn.question, mode: null, collection: null, startedAt: Date.parse(turn.asked_at), queryId: turn.query_id }),
    status: "done",
    text: turn.answer,
    steps: turn.stand_alone ? [{ kind: "rewritten", question: turn.stand_alone }] : [],
    citations: turn.citations,
    answered: turn.answered,
    shortened: turn.shortened,
    traceId: turn.trace_id,
    tookMs: Date.parse(turn.answered_at) - Date.parse(turn.asked_at),
    rating: turn.rating,
    comment: turn.comment,
  };
}

/** Change a turn as an event of its answer tells. */
export function apply(turn, { event, data }, now = Date.now()) {
  ({ accepted, retrieval, delta, step, citations, done, error })[event]?.(turn, data, now);
}

function accepted(turn, data) {
  turn.queryId = data.id;
  turn.traceId = data.trace_id;
}

function retrieval(turn, data) {
  turn.hits = data.hits;
}

function delta(turn, data) {
  turn.text += data.text;
}

function step(turn, data) {
  if (data.kind === "restarted") turn.text = "";
  else if (!turn.steps.some((known) => known.kind === data.kind && known.n === data.n)) turn.steps.push(data);
}

function citations(turn, data) {
  turn.citations = data.citations;
}

function done(turn, data, now) {
  Object.assign(turn, { status: "done", text: data.answer, steps: data.steps, citations: data.citations, answered: data.answered, cached: data.cached, conversationId: data.conversation_id, traceId: data.trace_id, tookMs: now - turn.startedAt });
}

function error(turn, data) {
  turn.status = "failed";
  turn.problem = new Problem(data.status, data);
}
