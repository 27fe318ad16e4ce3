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
const PREFIX = /rag\.v1\./g;
/** The services of the platform, in the order in which a document meets them. */
export const SERVICES = ["gateway", "parser", "embedder", "retriever", "agent", "persistence"];

/** Return what a request is called among people, null where only its own name says it. */
export function plainName(name) {
  return Object.hasOwn(REQUESTS, name) ? REQUESTS[name] : null;
}

/** Return a span's name without what all names begin with. */
export function shortName(name) {
  return name.replaceAll(PREFIX, "");
}

/** Return the colour of a service as a value of CSS. */
export function colourOf(service) {
  return `var(--part-${SERVICES.includes(service) ? service : "other"})`;
}
