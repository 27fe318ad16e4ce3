// What an installation without documents offers.

/** Resolve to a node that offers a sample, null for none; `ask(question)` is called for a question that is chosen. */
export async function firstRun(ask) {
  return null;
}
