// Doing something again and again, only while the tab can be seen.

const LONGEST_MS = 30_000;

/** Run async `work(signal)` at once and then `pauseMs()` after it ended; after a failure the pause doubles, and `failed` hears of it. */
export function repeating(work, pauseMs, failed = () => {}) {
  const controller = new AbortController();
  let timer = null;
  let running = false;
  let failures = 0;
  let wanted = false;

  async function run() {
    clearTimeout(timer);
    timer = null;
    if (controller.signal.aborted || document.hidden) return;
    if (running) {
      wanted = true;
      return;
    }
    [running, wanted] = [true, false];
    try {
      await work(controller.signal);
      failures = 0;
    } catch (error) {
      if (controller.signal.aborted) return;
      failures += 1;
      failed(error);
    } finally {
      running = false;
    }
    if (controller.signal.aborted) return;
    timer = setTimeout(run, wanted ? 0 : Math.min(pauseMs() * 2 ** failures, LONGEST_MS));
  }

  document.addEventListener("visibilitychange", run, { signal: controller.signal });
  run();
  return { now: run, stop: () => (clearTimeout(timer), controller.abort()) };
}
