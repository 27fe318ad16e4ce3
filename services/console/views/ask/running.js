// The question whose answer is being read, in session storage: a reload goes on reading it.
// Its events are kept by the gateway and are read from the first one again, so nothing but its name is kept here.

const KEY = "rag.ask.running";

/** Keep what is needed to find the answer of a turn again; `conversation` is null for one that begins with it. */
export function keepRunning(turn, conversation) {
  const { queryId, question, mode, collection, startedAt } = turn;
  sessionStorage.setItem(KEY, JSON.stringify({ queryId, question, mode, collection, startedAt, conversation }));
}

/** Return what was kept, null for nothing. */
export function running() {
  return JSON.parse(sessionStorage.getItem(KEY));
}

export function forgetRunning() {
  sessionStorage.removeItem(KEY);
}
