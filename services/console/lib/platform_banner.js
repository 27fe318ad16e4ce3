// The line above every view that says which part of the platform is down, and goes when it is back.

import { get } from "./api.js";
import { advice } from "./dialogs.js";
import { h, replace } from "./dom.js";
import { UNREACHABLE, troubles } from "./platform_words.js";
import { poll } from "./polling.js";

const EVERY_MS = 10_000;
// A part that is busy may miss one look and the next; not three.
const LOOKS = 3;
const AGAIN_MS = 1_500;
const SLOWEST_MS = 15_000;

/** Look at the platform for as long as the page is there, and say in `node` what is wrong. */
export function watchPlatform(node) {
  let looks = 0;
  let said = "";

  function say(found) {
    const text = JSON.stringify(found);
    // Putting the same words there again would have them read aloud again.
    if (text === said) return;
    said = text;
    replace(node, found.map(({ text: words, bad }) => h("div", { class: bad ? "bad" : null }, words)));
  }

  return poll(async (signal) => {
    const found = await look(signal);
    looks = found.length ? looks + 1 : 0;
    if (looks === 0 || looks >= LOOKS) say(found);
    return looks ? Math.min(AGAIN_MS * 1.5 ** Math.max(looks - LOOKS, 0), SLOWEST_MS) : EVERY_MS;
  }, { everyMs: EVERY_MS, failed: (error) => say([{ text: advice(error), bad: true }]) });
}

async function look(signal) {
  try {
    return troubles(await get("health/detailed", {}, { signal }));
  } catch (error) {
    if (error.name !== "Problem") throw error;
    return [{ text: error.status === 0 ? UNREACHABLE : advice(error), bad: true }];
  }
}
