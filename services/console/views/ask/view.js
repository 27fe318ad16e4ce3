// Ask: questions and their answers, with the places in the documents that they come from.

import { get } from "../../lib/api.js";
import { advice, dialog, load, toast } from "../../lib/dialogs.js";
import { h, replace } from "../../lib/dom.js";
import { icon } from "../../lib/icons.js";
import { run, stopped } from "./asking.js";
import { citedTextMaker } from "./cited_text.js";
import { composer } from "./composer.js";
import { conversationList } from "./conversation_list.js";
import { forgetRunning, running } from "./running.js";
import { sourcePanel } from "./source_panel.js";
import { turnView } from "./turn.js";
import { newTurn, pastTurn } from "./turn_state.js";
import { welcome } from "./welcome.js";

export const title = "Ask";

const TURNS_PAGE = 100;
// Whoever is this close to the end reads along.
const FOLLOW_PX = 160;

/** Show the view. */
export function mount(main, route, caller) {
  const view = new AskView(main);
  view.open(route.id);
  return { update: ({ id }) => view.open(id), unmount: () => view.close() };
}

class AskView {
  constructor(main) {
    this.ended = new AbortController();
    this.conversation = null;
    this.asking = null;
    this.opened = null;
    this.textMaker = citedTextMaker();
    this.thread = h("div", { class: "thread" });
    this.panel = sourcePanel();
    this.composer = composer({ onask: (question) => this.ask(question), onstop: () => this.stop() });
    this.list = this.newList();
    main.append(h("div", { class: "ask" },
      h("aside", { class: "ask-side", "aria-label": "Conversations" }, this.list.node),
      h("div", { class: "ask-main" },
        h("div", { class: "view-head" }, h("h1", {}, title), h("button", { class: "ask-drawer", onclick: () => this.drawer() }, icon("ask"), "Conversations")),
        this.thread,
        this.composer.node),
      this.panel.node));
    this.list.refresh();
  }

  newList(onchoose) {
    return conversationList({ onchoose, onnew: () => this.open(null), ondeleted: (id) => id === this.conversation && (location.hash = "#/ask") }, this.ended.signal);
  }

  async collections() {
    const { items } = await get("v1/collections", {}, { signal: this.ended.signal });
    this.composer.collections(items);
    return items;
  }

  /** Show a conversation, null for a new one; an answer that is still being read is gone on with. */
  async open(id) {
    if (this.opened !== null && id === this.conversation && id !== null) return;
    const isFirst = this.opened === null;
    this.leave();
    const mine = (this.opened = new AbortController());
    this.conversation = id;
    this.list.current(id);
    this.composer.busy(false);
    this.panel.close();
    replace(this.thread);
    const left = running();
    if (left !== null && left.conversation === null && !(isFirst && id === null)) forgetRunning();
    this.makeText = await this.textMaker;
    if (mine.signal.aborted) return;
    if (id === null && running()?.conversation !== null) this.greet();
    else this.collections().catch(unlessAborted);
    if (id !== null) await this.read(id, mine.signal);
    if (!mine.signal.aborted) this.goOn(mine.signal);
  }

  async read(id, signal) {
    await load(this.thread, () => turnsOf(id, signal), (turns) => turns.map((turn) => this.shown(pastTurn(turn), signal).node));
    if (signal.aborted) return;
    this.toEnd();
    if (!this.list.holds(id)) this.list.refresh(id);
  }

  /** Go on reading the answer that a reload, or a look at another view, has interrupted. */
  goOn(signal) {
    const left = running();
    if (left === null || left.conversation !== this.conversation) return;
    if (this.thread.querySelector(`[data-query="${CSS.escape(left.queryId)}"]`)) forgetRunning();
    else this.begin(newTurn(left), signal);
  }

  greet() {
    replace(this.thread, welcome(() => this.collections(), (question) => (this.ask(question), this.collections())));
  }

  ask(question) {
    this.thread.querySelector(".welcome")?.remove();
    this.begin(newTurn({ question, ...this.composer.choice() }), this.opened.signal);
  }

  begin(turn, signal) {
    const shown = this.shown(turn, signal);
    this.thread.append(shown.node);
    this.toEnd();
    this.run(shown, signal);
  }

  shown(turn, signal) {
    const shown = turnView(turn, {
      makeText: this.makeText,
      signal,
      onretry: () => this.retry(shown, signal),
      onhit: (hit) => this.panel.open(hit, "Passage"),
      onsource: (n) => this.source(turn, n),
    });
    if (turn.queryId !== null) shown.node.dataset.query = turn.queryId;
    return shown;
  }

  async run(shown, signal) {
    if (this.asking !== null) return;
    const { turn } = shown;
    const stop = new AbortController();
    const mine = (this.asking = { shown, stop });
    this.composer.busy(true);
    await run(turn, this.conversation, {
      signal: AbortSignal.any([signal, stop.signal]),
      ontrouble: (attempt) => shown.trouble(attempt),
      onchange: () => this.changed(shown),
    });
    if (this.asking !== mine) return;
    this.asking = null;
    this.composer.busy(false);
    this.finish(turn);
  }

  changed(shown) {
    const follow = innerHeight + scrollY > document.documentElement.scrollHeight - FOLLOW_PX;
    shown.update();
    if (follow) requestAnimationFrame(() => this.toEnd());
    const waited = this.panel.waitsFor();
    if (waited?.turn === shown.turn && shown.turn.status !== "running") this.source(shown.turn, waited.n, true);
  }

  /** An answer that ended has its conversation's id, which a new one gets with it. */
  finish(turn) {
    if (turn.status !== "done") return;
    if (this.conversation === null && turn.conversationId !== null) {
      this.conversation = turn.conversationId;
      history.replaceState(null, "", `#/ask/${encodeURIComponent(turn.conversationId)}`);
      this.list.current(turn.conversationId);
    }
    this.list.refresh(turn.conversationId);
  }

  retry(shown, signal) {
    if (this.asking !== null) return;
    if (!shown.turn.resumable) Object.assign(shown.turn, { queryId: null, startedAt: Date.now() });
    shown.turn.resumable = false;
    this.run(shown, signal);
    shown.update();
  }

  stop() {
    if (this.asking === null) return;
    const { shown, stop } = this.asking;
    this.asking = null;
    stopped(shown.turn);
    stop.abort();
    this.composer.busy(false);
    shown.update();
    this.composer.focus();
  }

  source(turn, n, isLate = false) {
    const citation = turn.citations?.find((one) => one.n === n);
    if (citation) this.panel.open(citation, `Source ${n}`);
    else if (isLate) this.panel.close();
    else this.panel.wait(turn, n);
  }

  drawer() {
    dialog("Conversations", (close) => {
      const list = this.newList(() => close());
      list.current(this.conversation);
      list.refresh();
      return list.node;
    });
  }

  toEnd() {
    scrollTo({ top: document.documentElement.scrollHeight });
  }

  leave() {
    this.opened?.abort();
    this.asking = null;
  }

  close() {
    this.leave();
    this.ended.abort();
  }
}

function unlessAborted(problem) {
  if (problem.name !== "AbortError") toast(advice(problem), { bad: true });
}

async function turnsOf(id, signal) {
  const turns = [];
  for (let cursor = null; ;) {
    const found = await get(`v1/conversations/${encodeURIComponent(id)}`, { limit: TURNS_PAGE, cursor }, { signal });
    turns.push(...found.turns);
    cursor = found.next_cursor;
    if (cursor === null) return turns;
  }
}
