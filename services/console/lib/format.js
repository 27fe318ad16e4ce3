// Numbers, sizes and times for people.

const COUNT = new Intl.NumberFormat("en");
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** Return a whole number with separators. */
export function count(value) {
  return COUNT.format(value);
}

/** Return a number with its noun, in the plural where it is not one. */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Return a size in bytes to two digits or three. */
export function bytes(value) {
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), UNITS.length - 1);
  return `${(value / 1000 ** power).toLocaleString("en", { maximumFractionDigits: power ? 1 : 0 })} ${UNITS[power]}`;
}

/** Return a length of time given in milliseconds. */
export function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
}

/** Return a moment given as RFC 3339 in the reader's own way. */
export function moment(text) {
  return TIME.format(new Date(text));
}

/** Return how long ago that was, roughly. */
export function ago(text, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(text)) / 1000);
  if (seconds < 45) return "just now";
  for (const [size, unit] of [[86_400, "day"], [3_600, "hour"], [60, "minute"]]) {
    if (seconds >= size * 0.95) return `${counted(Math.round(seconds / size), unit)} ago`;
  }
  return "1 minute ago";
}
