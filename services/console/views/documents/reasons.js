// Why a document failed, in words for people who never saw a parser: what it is, and what to do.

const AGAIN = "Add the file again.";
const REASONS = {
  corrupt: ["The file is damaged, or is not what its name says.", "Open it in its own program, save it again and add it once more."],
  encrypted: ["The file is protected by a password.", "Remove the protection and add it again."],
  no_text: ["There is no text in it.", "A scanned document needs text recognition (OCR) first; an empty file has nothing to find."],
  too_large: ["It is too large, or unpacks to far more than its size.", "Split it, or leave out what need not be searched."],
  unsupported_type: ["This kind of file can't be read.", "Save it as PDF, Word, HTML or plain text and add that."],
  timeout: ["Reading it took longer than one document may take.", "Split it into smaller files."],
  out_of_memory: ["Reading it needs more memory than one document may use.", "Split it into smaller files."],
  crashed: ["The reader broke down on this file; it is probably damaged.", "Open it in its own program, save it again and add it once more."],
  object_missing: ["The file got lost on its way to the reader.", AGAIN],
  message_lost: ["It was lost with a queue that broke.", AGAIN],
  max_deliveries: ["It was tried several times and failed each time.", "Ask who runs this platform to look at its dead letter, or add the file again."],
  invalid_message: ["What came with the file can't be used.", "Correct what is named below and add it again."],
  internal_error: ["The platform has a fault of its own here.", "Ask who runs it to look at the dead letter."],
  url_not_allowed: ["Its address may not be fetched.", "Add the file itself."],
  fetch_unresolvable: ["Its address has no server.", "Check the address, or add the file itself."],
  fetch_untrusted: ["The certificate of its server does not hold.", "Add the file itself."],
  fetch_refused: ["Its server did not hand it out.", "Check the address, or add the file itself."],
  fetch_failed: ["It could not be fetched.", "Add it again later, or add the file itself."],
};

// The platform's own words about these are a list of everything it can read.
const SAID_ENOUGH = new Set(["unsupported_type"]);

/** Return `{what, todo, detail}` of a document's error; of a code that is not known here the platform's own words. */
export function reasonOf({ code, message }) {
  const [what, todo] = Object.hasOwn(REASONS, code) ? REASONS[code] : [message || code, ""];
  return { what, todo, detail: what === message || SAID_ENOUGH.has(code) ? "" : message };
}
