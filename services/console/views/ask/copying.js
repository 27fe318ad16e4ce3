// An answer as Markdown, for elsewhere.

import { placeIn } from "./places.js";


/** Return question, answer and the sources that it names. */
export function asMarkdown({ question, text, citations, status }) {
  const sources = (citations ?? []).map((citation) => `- [${citation.n}] ${source(citation)}`);
  const answer = status === "stopped" ? `${text}\n\n_(stopped before its end)_` : text;
  return [`**${inline(question)}**`, answer.trim(), ...(sources.length ? ["Sources:", sources.join("\n")] : [])].join("\n\n") + "\n";
}

function source(citation) {
  const name = inline(citation.title ?? citation.document_id);
  const linked = /^https?:\/\/[^\s<>]+$/i.test(citation.uri ?? "") ? `[${name}](<${citation.uri}>)` : `${name} (${inline(citation.document_id)})`;
  const place = placeIn(citation);
  return `${linked}${place ? `, ${inline(place)}` : ""}: “${citation.quote.trim().replace(/\s+/g, " ")}”`;
}

function inline(text) {
  return text.trim().replace(/\s+/g, " ").replace(/[\\[\]*_`]/g, "\\$&");
}

/** Put a text on the clipboard; also where a page without TLS has no other way. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("the browser does not let this page copy");
}
