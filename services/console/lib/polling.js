// Doing something again and again while somebody looks at the tab.

const SLOWEST_MS = 30_000;

/**
 * Call `work(signal)` at once and `everyMs` after each end, or after as many milliseconds as it resolves to; never twice
 * at a time, and not while the tab is hidden. What it throws goes to `failed(error)`, and the pauses grow.
 * Returns `{now, stop}`: `now` does not wait for the pause to end.
 */
export function poll(work, { everyMs, failed }) {
  const leaving = new AbortController();
  let timer = null;
  let running = false;
  let again = false;
  let failures = 0;

  async function turn() {
    if (leaving.signal.aborted || document.hidden) return;
    if (running) return void (again = true);
    clearTimeout(timer);
    running = true;
    again = false;
    const pauseMs = await once();
    running = false;
    if (leaving.signal.aborted) return;
    timer = setTimeout(turn, again ? 0 : pauseMs);
  }

  async function once() {
    try {
      const wanted = await work(leaving.signal);
      failures = 0;
      return wanted ?? everyMs;
    } catch (error) {
      if (leaving.signal.aborted) return everyMs;
      failed(error);
      failures += 1;
      return Math.min(everyMs * 1.5 ** failures, SLOWEST_MS);
    }
  }

  document.addEventListener("visibilitychange", turn, { signal: leaving.signal });
  turn();
  return { now: turn, stop: () => (clearTimeout(timer), leaving.abort()) };
}
