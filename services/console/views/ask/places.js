// Where in a document something stands.

import { placeOf } from "../../lib/passages.js";

/** Return the headings above a citation or a hit and its page, without the heading that is the document's title; "" for neither. */
export function placeIn({ title, heading_path: headings = [], page = null }) {
  return placeOf({ heading_path: headings[0] === title ? headings.slice(1) : headings, page });
}
