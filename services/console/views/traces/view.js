// What the services did for one request: listed, and one of them as a waterfall.

import { h, replace } from "../../lib/dom.js";
import { showList } from "./list.js";
import { showTrace } from "./trace.js";

export const title = "Traces";

/** Show the view. */
export function mount(main, route, caller) {
  const place = h("div", {});
  main.append(h("div", { class: "view-head" }, h("h1", {}, title)), place);
  let leave = null;

  function show({ id, query }) {
    leave?.();
    replace(place);
    if (!caller.scopes.includes("query")) leave = showUnseen(place, caller);
    else leave = id === null ? showList(place, query) : showTrace(place, id, query.get("span"), caller);
  }

  show(route);
  return { update: show, unmount: () => leave?.() };
}

function showUnseen(place, caller) {
  replace(place, h("div", { class: "empty" }, h("h2", {}, "Not for this key"),
    h("p", {}, `Traces are shown to keys with the scope query; this one has ${caller.scopes.join(", ") || "none"}.`)));
  return null;
}
