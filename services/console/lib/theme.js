// Light, dark, or as the system has it.

const KEY = "rag.theme";
const ORDER = ["system", "light", "dark"];

/** Return the theme that was chosen. */
export function theme() {
  const found = localStorage.getItem(KEY);
  return ORDER.includes(found) ? found : "system";
}

/** Use the theme that was chosen. */
export function applyTheme() {
  const chosen = theme();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

/** Go on to the next theme and return it. */
export function nextTheme() {
  const next = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length];
  localStorage.setItem(KEY, next);
  applyTheme();
  return next;
}
