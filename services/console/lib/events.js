// Server-sent events over fetch: EventSource cannot send a key or a body.

import { Problem, request } from "./api.js";

/** Yield `{id, event, data}` of a stream, data parsed; comments are left out. Throws Problem where it is refused or breaks. */
export async function* events(path, options = {}) {
  const response = await request(path, options);
  if (response.status === 204) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = "";
    for (;;) {
      const { value, done } = await read(reader);
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const found = parsed(block);
        if (found) yield found;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The connection to the gateway broke." });
  }
}

function parsed(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
  }
  return fields.data === undefined ? null : { id: fields.id ?? null, event: fields.event ?? "message", data: JSON.parse(fields.data) };
}
