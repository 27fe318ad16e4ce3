// Sending files and following them until they are indexed or failed. It knows nothing of the page.

import { get, upload } from "../../lib/api.js";
import { advice } from "../../lib/dialogs.js";
import { batch, batchesOf, formOf, refusalOf, share } from "./batches.js";
import { repeating } from "./repeating.js";

export const MAX_FILES = 5_000;
const AT_ONCE = 2;
const TRIES = 6;
const LONGEST_WAIT_S = 30;
const LOOK_MS = 1_000;
const IDS_A_LOOK = 100;
const QUERY_CHARACTERS = 6_000;
const PASSING = new Set([0, 408, 429, 502, 503, 504]);
const FOLLOWED = new Set(["accepted", "processing"]);

/**
 * Items go from `waiting` through `sending`, `accepted`, `processing` to `indexed` or `failed` (with the platform's `error`);
 * or they are `refused` (their own fault), `unsent` (may be tried again), `stopped`, or `deleted`. `words` says why.
 */
export class Uploads extends EventTarget {
  #queue = [];
  #running = new Set();
  #follower = null;

  constructor(limits) {
    super();
    this.limits = limits;
    this.items = [];
    this.note = null;
  }

  /** Send files `{file, path, as?}`; `as` is what the request says of one. Returns how many of them are sent. */
  add(picked, collection) {
    const items = picked.map((one) => ({ ...one, collection, progress: 0, state: "waiting", words: null, lookedAt: 0 }));
    for (const item of items) {
      const words = refusalOf(item.file, this.limits);
      if (words) Object.assign(item, { state: "refused", words });
    }
    this.items.push(...items);
    const sent = items.filter(({ state }) => state === "waiting");
    this.#queue.push(...batchesOf(sent, this.limits));
    this.#pump();
    this.#changed();
    return sent.length;
  }

  /** Tell whether files are still on their way to the gateway. */
  get busy() {
    return this.#running.size > 0 || this.#queue.length > 0;
  }

  /** Tell whether something is not through yet. */
  get pending() {
    return this.busy || this.items.some(({ state }) => FOLLOWED.has(state));
  }

  /** Stop what is not sent yet; what the gateway has already stays. */
  stop() {
    for (const { items } of this.#queue) for (const item of items) item.state = "stopped";
    this.#queue = [];
    // A request that is all sent is worth its answer: the gateway has it already.
    for (const one of this.#running) if (one.batch.items.some(({ progress }) => progress < 1)) one.controller.abort();
    this.#changed();
  }

  /** Send once more what could not be sent, each request under its old key. */
  retry() {
    const again = new Set(this.items.filter(({ state }) => state === "unsent").map((item) => item.batch));
    for (const one of again) for (const item of one.items) Object.assign(item, { state: "waiting", words: null });
    this.#queue.push(...again);
    this.#pump();
    this.#changed();
  }

  /** Forget what is through. */
  clear() {
    this.items = this.items.filter(({ state }) => FOLLOWED.has(state) || state === "waiting" || state === "sending");
    this.#changed();
  }

  /** Follow what was sent, until `unwatch`: a view that nobody sees asks nothing. */
  watch() {
    this.#follower ??= repeating((signal) => this.#look(signal), () => LOOK_MS);
  }

  unwatch() {
    this.#follower?.stop();
    this.#follower = null;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #pump() {
    while (this.#running.size < AT_ONCE && this.#queue.length) {
      const one = { batch: this.#queue.shift(), controller: new AbortController() };
      this.#running.add(one);
      this.#send(one).finally(() => {
        this.#running.delete(one);
        this.#pump();
        this.#changed();
      });
    }
  }

  async #send({ batch: mine, controller }) {
    for (const item of mine.items) Object.assign(item, { state: "sending", progress: 0, batch: mine });
    const onprogress = (fraction) => (share(mine.items, fraction), this.#changed());
    for (let tried = 1; ; tried += 1) {
      try {
        const options = { onprogress, signal: controller.signal, headers: { "Idempotency-Key": mine.key } };
        const { documents } = await upload("v1/documents", formOf(mine), options);
        return this.#accept(mine, documents);
      } catch (error) {
        if (error.name === "AbortError") return this.#all(mine, { state: "stopped" });
        if (error.status === 0 && (await this.#takeOutUnreadable(mine))) return;
        if (!PASSING.has(error.status) || tried === TRIES) return this.#refuse(mine, error);
        await this.#pause(error, tried, controller.signal);
        if (controller.signal.aborted) return this.#all(mine, { state: "stopped" });
      }
    }
  }

  async #pause(error, tried, signal) {
    const seconds = Math.min(error.retryAfter ?? 2 ** (tried - 1), LONGEST_WAIT_S);
    this.note = `${advice(error).replace(/ Try again in .*$/, "")} Sending goes on by itself in ${seconds} s.`;
    this.#changed();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    this.note = null;
  }

  #accept(mine, receipts) {
    mine.items.forEach((item, index) => {
      const { id, revision } = receipts[index];
      const twin = this.items.find((other) => other !== item && other.documentId === id && other.collection === item.collection);
      const words = twin && !item.as ? `It has the same content as ${twin.path}: they are one document.` : null;
      Object.assign(item, { state: "accepted", progress: 1, documentId: id, revision, words });
    });
    this.#follower?.now();
  }

  #all(mine, fields) {
    for (const item of mine.items) Object.assign(item, fields);
  }

  /** Find the one that a request was refused for, so that the others go on without it. */
  #refuse(mine, error) {
    const words = advice(error);
    const [, place] = /^(?:files|documents)\.(\d+)/.exec(error.field ?? "") ?? [];
    const culprit = place === undefined ? null : mine.items[place];
    const others = mine.items.filter((item) => item !== culprit);
    if (culprit) {
      Object.assign(culprit, { state: "refused", words });
      return this.#requeue([others]);
    }
    const half = Math.ceil(others.length / 2);
    const unknown = [400, 413, 422].includes(error.status) && [null, "files"].includes(error.field);
    if (unknown && half < others.length) return this.#requeue([others.slice(0, half), others.slice(half)]);
    return this.#all(mine, { state: unknown || error.status === 422 ? "refused" : "unsent", words });
  }

  /** A file that was changed or moved since it was chosen breaks the request, and the browser does not say so. */
  async #takeOutUnreadable(mine) {
    const readable = await Promise.all(mine.items.map(({ file }) => file.slice(0, 1).arrayBuffer().then(() => true, () => false)));
    if (readable.every(Boolean)) return false;
    const gone = mine.items.filter((_, index) => !readable[index]);
    for (const item of gone) Object.assign(item, { state: "refused", words: "The file was changed or moved since it was chosen. Choose it again." });
    this.#requeue([mine.items.filter((_, index) => readable[index])]);
    return true;
  }

  #requeue(groups) {
    for (const items of groups.filter(({ length }) => length)) {
      for (const item of items) item.state = "waiting";
      this.#queue.unshift(batch(items));
    }
  }

  async #look(signal) {
    const asked = this.#nextToLookAt();
    if (!asked.size) return;
    const query = new URLSearchParams([["limit", IDS_A_LOOK], ...[...asked.keys()].map((id) => ["id", id])]);
    const page = await get(`v1/documents?${query}`, {}, { signal });
    const views = new Map(page.items.map((view) => [view.id, view]));
    for (const [id, items] of asked) for (const item of items) this.#show(item, views.get(id), page.next_cursor === null);
    this.#changed();
  }

  /** Return ids with their items, those first that were not looked at for longest. */
  #nextToLookAt() {
    const asked = new Map();
    let length = 0;
    const followed = this.items.filter(({ state }) => FOLLOWED.has(state)).sort((one, other) => one.lookedAt - other.lookedAt);
    for (const item of followed) {
      if (asked.has(item.documentId)) asked.get(item.documentId).push(item);
      else {
        length += encodeURIComponent(item.documentId).length + 4;
        if (asked.size === IDS_A_LOOK || (asked.size && length > QUERY_CHARACTERS)) break;
        asked.set(item.documentId, [item]);
      }
      item.lookedAt = performance.now();
    }
    return asked;
  }

  #show(item, view, whole) {
    // What is accepted is recorded a moment later; what was recorded and is not there any more was deleted.
    if (!view) {
      if (item.seen && whole) item.state = "deleted";
    } else if (view.revision >= item.revision) {
      Object.assign(item, { seen: true, state: view.status, error: view.error, chunks: view.chunks });
    }
  }
}
