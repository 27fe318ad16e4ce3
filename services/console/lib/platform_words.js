// What is wrong with the platform, in words: which part, and what that means for who uses it.

const WITHOUT = {
  gateway: ["The gateway", "nothing can be asked or uploaded."],
  parser: ["The parser", "new documents wait. What is indexed already can be searched and asked about."],
  embedder: ["The embedder", "new documents wait, and questions and searches can't be answered."],
  retriever: ["The retriever", "new documents wait, and questions and searches can't be answered."],
  agent: ["The agent", "questions can't be answered. Search and uploads work."],
  persistence: ["Persistence", "uploads are taken, but documents, conversations and traces can't be shown."],
};
const LANES = {
  bulk: "No embedder takes documents: new documents wait. Questions are answered.",
  interactive: "No embedder takes questions: questions and searches can't be answered. Documents go on.",
};
export const UNREACHABLE = "The gateway can't be reached: nothing can be asked or uploaded until it is back. This page keeps trying.";

/** Return what `/health/detailed` says as `{text, bad}`, what explains the rest first; nothing when all is well. */
export function troubles(health) {
  const notices = health.notices.map((text) => ({ text: sentence(text), bad: false }));
  return [...problems(health).map((text) => ({ text, bad: true })), ...notices];
}

function problems({ broker, services, lanes, problems: told }) {
  if (!broker.connected) return ["The gateway has lost the broker: nothing can be asked or uploaded until it is back."];
  if (!broker.answers) return ["The broker does not answer: nothing can be asked or uploaded, and nothing is known of the other parts."];
  const down = Object.entries(services).filter(([name, found]) => found.ready === 0 && Object.hasOwn(WITHOUT, name));
  const lost = services.embedder?.ready ? Object.keys(lanes).filter((lane) => lanes[lane] === 0 && Object.hasOwn(LANES, lane)) : [];
  const stuck = told.filter((text) => text.includes("does not do its work any more")).map(sentence);
  const found = [...down.map(([name, { replicas }]) => outage(name, replicas.length)), ...lost.map((lane) => LANES[lane]), ...stuck];
  // What this page has no words for, the gateway has.
  return found.length ? found : told.map(sentence);
}

function outage(name, replicas) {
  const [who, what] = WITHOUT[name];
  return `${who} is ${replicas ? "not ready" : "down"}: ${what}`;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
