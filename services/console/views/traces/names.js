// What spans and services are called, and the colour that each service has.

const REQUESTS = {
  "POST /v1/query": "Question",
  "POST /v1/chat/completions": "Chat",
  "POST /v1/documents": "Documents sent",
  "POST /v1/search": "Search",
  "POST /v1/embeddings": "Embeddings",
  "DELETE /v1/documents/{document_id}": "Document deleted",
  "DELETE /v1/collections/{name}": "Collection deleted",
  "replay dead letter": "Dead letter sent again",
};
// Whoever asked these waits for the answer; what comes after it is of less interest.
const ASKED = new Set(["POST /v1/query", "POST /v1/chat/completions", "POST /v1/search", "POST /v1/embeddings"]);
const PREFIX = /rag\.v1\./g;
/** The services of the platform, in the order in which a document meets them. */
export const SERVICES = ["gateway", "parser", "embedder", "retriever", "agent", "persistence"];

/** Return what a request is called among people, null where only its own name says it. */
export function plainName(name) {
  return Object.hasOwn(REQUESTS, name) ? REQUESTS[name] : null;
}

/** Tell whether a request is about its answer, and not about what it sets going. */
export function wantsAnswer(name) {
  return ASKED.has(name);
}

/** Return a span's name without what all names begin with. */
export function shortName(name) {
  return name.replaceAll(PREFIX, "");
}

/** Return the colour of a service as a value of CSS. */
export function colourOf(service) {
  return `var(--part-${SERVICES.includes(service) ? service : "other"})`;
}
