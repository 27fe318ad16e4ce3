// Where things are shown.

/** Return where the list is shown under these filters. */
export function listAddress({ collection, status, title }) {
  const given = Object.entries({ collection, status, title }).filter(([, value]) => value);
  return given.length ? `#/documents?${new URLSearchParams(given)}` : "#/documents";
}

/** Return where a document is shown. */
export function addressOf(id) {
  return `#/documents/${encodeURIComponent(id)}`;
}
