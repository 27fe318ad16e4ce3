// The API key: in this tab's session storage, and nowhere else.

const KEY = "rag.key";

let asking = null;
let ask = null;

/** Return the key that requests carry, null for none. */
export function key() {
  return sessionStorage.getItem(KEY);
}

/** Keep a key until the tab is closed; null forgets it. */
export function keep(value) {
  if (value === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, value);
}

/** Have `asker(problem)`, which resolves to a key or null, called when the gateway wants one. */
export function askWith(asker) {
  ask = asker;
}

/** Resolve to whether there is a new key; who asks while somebody is asked already waits for the same answer. */
export function wantKey(problem) {
  asking ??= ask(problem)
    .then((value) => (value === null ? false : (keep(value), true)))
    .finally(() => (asking = null));
  return asking;
}
