// The frame around the views: which of them is shown, who is signed in, how it looks.

import { get } from "./lib/api.js";
import { dialog, problemBox } from "./lib/dialogs.js";
import { h, replace } from "./lib/dom.js";
import { icon } from "./lib/icons.js";
import { watchPlatform } from "./lib/platform_banner.js";
import { applyTheme, nextTheme, theme } from "./lib/theme.js";
import { askWith, keep, key } from "./lib/session.js";

// A view exports `title` and `mount(main, route, caller)`, which returns `{update(route)?, unmount()?}`.
const VIEWS = {
  ask: { label: "Ask", load: () => import("./views/ask/view.js") },
  documents: { label: "Documents", load: () => import("./views/documents/view.js") },
  pipeline: { label: "Pipeline", load: () => import("./views/pipeline/view.js") },
  traces: { label: "Traces", load: () => import("./views/traces/view.js") },
};
const FIRST = "ask";

const main = document.getElementById("main");
let shown = { name: null, view: null };
let turn = 0;

/** Return where an address leads: `#/documents/a%2Fb?chunk=3` is `{name: "documents", id: "a/b", query}`. */
function routeOf(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  if (!Object.hasOwn(VIEWS, name)) return { name: FIRST, id: null, query: new URLSearchParams() };
  return { name, id: rest.length ? decode(rest.join("/")) : null, query: new URLSearchParams(query) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function show() {
  const route = routeOf(location.hash);
  const mine = (turn += 1);
  mark(route.name);
  if (shown.name === route.name && shown.view?.update) return shown.view.update(route);
  try {
    const [module, caller] = await Promise.all([VIEWS[route.name].load(), who()]);
    if (mine !== turn) return;
    shown.view?.unmount?.();
    replace(main);
    document.title = `${module.title} · RAG console`;
    shown = { name: route.name, view: module.mount(main, route, caller) ?? null };
  } catch (error) {
    if (mine === turn) replace(main, problemBox(error, show));
  }
}

let caller = null;

/** Resolve to `GET /v1/me`, asked once for each key. */
function who() {
  caller ??= get("v1/me").then(
    (found) => (foot(found), found),
    (error) => {
      caller = null;
      throw error;
    },
  );
  return caller;
}

function mark(name) {
  for (const link of document.querySelectorAll(".rail nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function links() {
  return Object.entries(VIEWS).map(([name, view]) => h("a", { href: `#/${name}`, dataset: { view: name } }, icon(name), h("span", {}, view.label)));
}

function foot(found) {
  const themeName = h("span", {}, `Theme: ${theme()}`);
  replace(
    document.querySelector(".rail-foot"),
    found?.key_id && h("div", { class: "who" }, `Tenant ${found.tenant}`),
    h("a", { href: "docs" }, "API docs"),
    h("button", { class: "quiet", "aria-label": "Change the theme", onclick: () => (themeName.textContent = `Theme: ${nextTheme()}`) }, icon("theme"), themeName),
    key() !== null && h("button", { class: "quiet", "aria-label": "Forget the key", onclick: forget }, icon("key"), h("span", {}, "Forget the key")),
  );
}

function forget() {
  keep(null);
  location.reload();
}

/** Ask for a key; resolves to it, or to null when none is given. */
function askForKey(problem) {
  caller = null;
  const field = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-help", autofocus: true });
  return dialog("API key", (close) => h("form", { method: "dialog", onsubmit: (event) => (event.preventDefault(), close(field.value.trim() || null)) },
    h("p", { id: "key-help" }, key() === null ? "This gateway wants an API key. " : `The key was refused: ${problem.message}. `, "It is kept in this tab until you close it, and sent to this gateway only."),
    h("label", {}, "Key", field),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => close(null) }, "Cancel"), h("button", { class: "primary" }, "Use this key"))));
}

applyTheme();
askWith(askForKey);
replace(document.querySelector(".rail nav"), links());
foot(null);
addEventListener("hashchange", show);
show();
watchPlatform(document.getElementById("banner"));
