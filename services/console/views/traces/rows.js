// The spans of a trace as a tree in the order in which it is drawn. Times are milliseconds since 1970, to the microsecond.

const QUEUED_AT = "rag.message.queued_at";
const DELIVERIES = "rag.message.deliveries";
const ERROR_TYPE = "error.type";

/** Return a moment given as RFC 3339; Date alone would cut off the microseconds. */
export function millis(text) {
  const digits = /\.\d{3}(\d+)/.exec(text)?.[1];
  return Date.parse(text) + (digits ? Number(`0.${digits}`) : 0);
}

/**
 * Return `{span, depth, parent, children, orphan, start, end, waited}` of each span: each below its parent, children by
 * their start. `parent` is a row or null; an orphan's parent is not among the spans.
 */
export function rowsOf(spans) {
  const all = spans.map(rowOf).sort((one, other) => one.start - other.start);
  const known = new Map(all.map((row) => [row.span.span_id, row]));
  const roots = [];
  for (const row of all) {
    const parent = known.get(row.span.parent_span_id);
    (parent?.children ?? roots).push(row);
    row.parent = parent ?? null;
    row.orphan = !parent && row.span.parent_span_id !== null;
  }
  const drawn = below(roots);
  // A span that is its own ancestor would be drawn never; no exporter makes one, but anybody may send it.
  const seen = new Set(drawn);
  const lost = all.filter((row) => !seen.has(row));
  for (const row of lost) Object.assign(row, { parent: null, children: [], orphan: true, depth: 0 });
  return [...drawn, ...lost];
}

/** Return when the first thing began, waiting included, and how long it is until the last one ended. */
export function extent(rows) {
  let begin = Infinity;
  let end = -Infinity;
  for (const row of rows) {
    begin = Math.min(begin, row.start - row.waited);
    end = Math.max(end, row.end);
  }
  return { begin, total: Math.max(end - begin, 0) };
}

/** Return what a bar cannot show: the kind of error, and that it was not the first try. */
export function remarks({ span }) {
  const tries = span.attributes[DELIVERIES];
  return [span.attributes[ERROR_TYPE], tries > 1 && `delivery ${tries}`].filter(Boolean).map(String).join(", ");
}

/** Tell whether a span says that it failed. */
export function failed({ span }) {
  return span.status === "error";
}

function rowOf(span) {
  const start = millis(span.start);
  return { span, depth: 0, parent: null, children: [], orphan: false, start, end: start + span.duration_ms, waited: waited(span, start) };
}

function waited(span, start) {
  const queued = span.attributes[QUEUED_AT];
  const at = typeof queued === "string" ? millis(queued) : NaN;
  return Number.isNaN(at) ? 0 : Math.max(start - at, 0);
}

// Not recursive: somebody else's exporter may send a chain of thousands.
function below(roots) {
  const drawn = [];
  const open = roots.toReversed();
  while (open.length) {
    const row = open.pop();
    drawn.push(row);
    for (const child of row.children.toReversed()) {
      child.depth = row.depth + 1;
      open.push(child);
    }
  }
  return drawn;
}
