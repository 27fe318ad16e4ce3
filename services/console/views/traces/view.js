import { h } from "../../lib/dom.js";

export const title = "Traces";

/** Show the view. */
export function mount(main, route, caller) {
  main.append(h("div", { class: "view-head" }, h("h1", {}, title)));
  return {};
}
