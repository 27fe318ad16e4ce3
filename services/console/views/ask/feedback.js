// What somebody thinks of an answer: a thumb at once, then a comment if they like.

import { post } from "../../lib/api.js";
import { advice } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { icon } from "../../lib/icons.js";

const MAX_CHARACTERS = 4000;

/** Return `{thumbs, below}`: two buttons, and where they ask for more; `turn` keeps what was said. */
export function feedback(turn) {
  const said = h("span", { class: "small soft", role: "status" });
  const below = h("div", { class: "feedback-more", hidden: true });
  const buttons = [thumb("up", "Good answer"), thumb("down", "Bad answer")];
  mark();

  function thumb(rating, label) {
    return h("button", { class: "quiet icon-only", "aria-label": label, title: label, dataset: { rating }, onclick: () => rate(rating) }, icon(rating));
  }

  function mark() {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.rating === turn.rating));
  }

  async function rate(rating) {
    if (await send(rating, turn.comment)) ask();
  }

  async function send(rating, comment) {
    for (const button of buttons) button.disabled = true;
    try {
      await post("v1/feedback", { query_id: turn.queryId, rating, comment: comment || null });
      Object.assign(turn, { rating, comment });
      said.textContent = "Thank you";
      return true;
    } catch (problem) {
      said.textContent = `Not kept. ${advice(problem)}`;
      return false;
    } finally {
      for (const button of buttons) button.disabled = false;
      mark();
    }
  }

  function ask() {
    const field = h("textarea", { rows: "2", maxlength: MAX_CHARACTERS, value: turn.comment ?? "" });
    const close = () => (below.hidden = true);
    replace(below, h("form", { onsubmit: async (event) => (event.preventDefault(), (await send(turn.rating, field.value.trim())) && close()) },
      h("label", {}, turn.rating === "up" ? "What was good? (optional)" : "What was wrong? (optional)", field),
      h("div", { class: "row" }, h("button", { class: "primary" }, "Send the comment"), h("button", { type: "button", class: "quiet", onclick: close }, "No comment"))));
    below.hidden = false;
    field.focus({ preventScroll: true });
    below.scrollIntoView({ block: "nearest" });
  }

  return { thumbs: [...buttons, said], below };
}
