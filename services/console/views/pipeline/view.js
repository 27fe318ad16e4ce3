// The platform at work: what waits where, and what could not be processed.

import { h, replace } from "../../lib/dom.js";
import { showLetter } from "./letter.js";
import { showLetters } from "./letters.js";
import { showLive } from "./live.js";

export const title = "Pipeline";
const LETTERS = "dead-letters";

/** Show the view. */
export function mount(main, route, caller) {
  const tabs = { live: h("a", { href: "#/pipeline" }, "Live"), [LETTERS]: h("a", { href: `#/pipeline/${LETTERS}` }, "Dead letters") };
  const place = h("div", {});
  main.append(
    h("div", { class: "view-head" }, h("h1", {}, title), h("nav", { class: "tabs", "aria-label": "Pipeline" }, Object.values(tabs))),
    place,
  );
  let leave = null;

  function show({ id, query }) {
    leave?.();
    const [tab, seq = null] = id?.startsWith(LETTERS) ? id.split("/") : ["live"];
    for (const [name, link] of Object.entries(tabs)) {
      if (name === tab) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    replace(place);
    if (tab === "live") leave = showLive(place, caller);
    else if (!caller.scopes.includes("admin")) leave = showUnseen(place, caller);
    else leave = seq === null ? showLetters(place, query) : showLetter(place, seq);
  }

  show(route);
  return { update: show, unmount: () => leave?.() };
}

function showUnseen(place, caller) {
  replace(place, h("div", { class: "empty" }, h("h2", {}, "Not for this key"),
    h("p", {}, `Dead letters are shown to keys with the scope admin; this one has ${caller.scopes.join(", ") || "none"}.`)));
  return null;
}
