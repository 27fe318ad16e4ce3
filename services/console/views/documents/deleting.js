// Deleting with a way back: a delete is sent when its time is up, or at once when its view or the page is left.

import { authorization, remove } from "../../lib/api.js";
import { advice, toast } from "../../lib/dialogs.js";
import { counted } from "../../lib/format.js";

const UNDO_MS = 6_000;
const AT_ONCE = 4;
// Its delete is recorded and will be carried out.
const RECORDED = "delete_not_confirmed";

/** Holds back deletes. "change" is dispatched when something begins to go, comes back, or is gone. */
export class Deletions extends EventTarget {
  #waiting = new Set();
  #leaving = new Set();
  #gone = new Map();
  #goneCollections = new Map();

  /** Tell whether a document is about to go. */
  leaves(view) {
    return this.#leaving.has(view.id);
  }

  /** Tell whether a document as the gateway lists it was deleted here; what was added since is not. */
  isGone(view) {
    return view.revision <= Math.max(this.#gone.get(view.id) ?? 0, this.#goneCollections.get(view.collection) ?? 0);
  }

  /** Delete documents, given as listed, unless somebody wants them back in time. */
  later(views) {
    const wait = { views, headers: authorization() };
    for (const { id } of views) this.#leaving.add(id);
    const what = views.length === 1 ? `“${views[0].title ?? views[0].id}”` : counted(views.length, "document");
    wait.timer = setTimeout(() => this.#send(wait), UNDO_MS);
    wait.away = toast(`Deleted ${what}.`, { forMs: UNDO_MS, action: { label: "Undo", run: () => this.#undo(wait) } });
    this.#waiting.add(wait);
    this.#changed();
  }

  /** Send what is held back now. */
  flush() {
    for (const wait of [...this.#waiting]) this.#send(wait);
  }

  /** The same while the page goes away: no answer is waited for. */
  flushForGood() {
    for (const { views, headers, timer } of this.#waiting) {
      clearTimeout(timer);
      for (const { id } of views) fetch(addressOf(id), { method: "DELETE", headers, keepalive: true, credentials: "omit" }).catch(() => {});
    }
    this.#waiting.clear();
  }

  /** Delete a collection now; throws Problem. */
  async collection(name) {
    const { revision } = await remove(`v1/collections/${encodeURIComponent(name)}`);
    this.#goneCollections.set(name, revision);
    this.#changed();
  }

  #undo(wait) {
    clearTimeout(wait.timer);
    this.#waiting.delete(wait);
    this.#stay(wait.views);
  }

  #stay(views) {
    for (const { id } of views) this.#leaving.delete(id);
    this.#changed();
  }

  async #send(wait) {
    clearTimeout(wait.timer);
    wait.away();
    this.#waiting.delete(wait);
    const rest = [...wait.views];
    const failures = [];
    const one = async () => {
      for (let view = rest.pop(); view; view = rest.pop()) await this.#delete(view).catch((error) => failures.push({ view, error }));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    if (failures.length) {
      toast(`${counted(failures.length, "document")} could not be deleted. ${advice(failures[0].error)}`, { bad: true });
      this.#stay(failures.map(({ view }) => view));
    }
  }

  async #delete(view) {
    let revision = view.revision;
    try {
      ({ revision } = await remove(addressOf(view.id)));
    } catch (error) {
      // Somebody else was faster, or the index is late: it is gone all the same.
      if (error.code !== RECORDED && error.status !== 404) throw error;
      if (error.code === RECORDED) toast(advice(error));
    }
    this.#gone.set(view.id, revision);
    this.#leaving.delete(view.id);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function addressOf(id) {
  return `v1/documents/${encodeURIComponent(id)}`;
}
