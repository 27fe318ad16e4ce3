// Line drawings of 24 by 24, in the colour of the text around them.

import { svg } from "./dom.js";

const PATHS = {
  ask: "M21 12a8 8 0 0 1-8 8H4l2-3.2A8 8 0 1 1 21 12Z",
  documents: "M7 3h7l5 5v13H7zM14 3v5h5M10 13h6M10 17h6",
  pipeline: "M4 6h5v4H4zM15 14h5v4h-5zM9 8h3a2 2 0 0 1 2 2v4a2 2 0 0 0 2 2",
  traces: "M3 6h9M7 12h10M12 18h9",
  key: "M14 10a4 4 0 1 1-3-3.9A4 4 0 0 1 14 10Zm-1 2.5L20 19v2h-3v-2h-2v-2l-2-2",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9Z",
  send: "M5 12h13M13 6l6 6-6 6",
  stop: "M7 7h10v10H7z",
  up: "M7 21V11l4-8a2 2 0 0 1 2 2v5h6l-1.5 9A2 2 0 0 1 15.500 21zM3 11h4v10H3z",
  down: "M17 3v10l-4 8a2 2 0 0 1-2-2v-5H5l1.500-9A2 2 0 0 1 8.500 3zM21 13h-4V3h4z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  refresh: "M20 11a8 8 0 1 0-2 6M20 4v7h-7",
  close: "M6 6l12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14ZM16 16l5 5",
  chevron: "M9 6l6 6-6 6",
  external: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  check: "M5 13l4 4 10-11",
  alert: "M12 4 2 20h20zM12 10v4M12 17v.5",
};

/** Return the drawing of that name, hidden from screen readers; the words beside it say what it means. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, svg("path", { d: PATHS[name] }));
}
