/**
 * What the page shows of one session, put together from its stored history and the frames of its socket.
 *
 * Frames tell of the assistant only, and of nothing that happened while there was no socket. So the history is the
 * truth, and whatever it has by id replaces or keeps its node; the rest (a message under way, an error) stays in place.
 */

import { bodyOf, errorCard, message, remark, showText } from "./render.js";
import { pretty, ToolCard } from "./toolcard.js";

/** The code of the frame that ends a turn which its user stopped. */
const STOPPED = "cancelled";

const LABELS = { user: "You", assistant: "Assistant", system: "System", tool: "Tool result" };

export class Conversation {
  /**
   * `send(frame)` says whether it was sent; `loadHistory()` fetches the history and hands it to `load`; `putBack(text)`
   * offers a text to the writer again; `onChange()` is told of every change.
   */
  constructor(log, { send, loadHistory, putBack, onChange }) {
    Object.assign(this, { log, send, loadHistory, putBack, onChange });
    this.log.replaceChildren();
    this.stored = new Map(); // node of each stored message, by its id
    this.unconfirmed = []; // messages of this page that the history has not shown yet
    this.drafts = new Map(); // text under way, by turn
    this.turns = new Map(); // whether a turn is at work, by turn
    this.cards = []; // tool cards, oldest first
    this.lastSent = null;
    this.held = null; // frames that wait for the history
    this.unanswered = false; // the history ends without an answer
    this.midway = false; // the text that comes next may have begun before this page listened
  }

  get isEmpty() {
    return !this.log.hasChildNodes();
  }

  /** What is going on: "waiting" for a tool of the user, "working", "unanswered" or "". */
  get progress() {
    if (this.cards.some((card) => card.isOpen)) return "waiting";
    const sent = this.unconfirmed.some((entry) => entry.state === "sent");
    if (sent || [...this.turns.values()].includes(true)) return this.drafts.size ? "" : "working";
    return this.unanswered ? "unanswered" : "";
  }

  /** Whether there is something to stop. */
  get canStop() {
    return this.drafts.size > 0 || this.progress === "working" || this.progress === "waiting";
  }

  /** Send a message and show it at once; false when it could not be sent. */
  say(text) {
    if (!this.send({ type: "user_message", content: text })) return false;
    const entry = { text, state: "sent", node: message("user", LABELS.user, text) };
    this.unconfirmed.push(entry);
    this.lastSent = { refused: () => this.#refused(entry) };
    this.log.append(entry.node);
    this.onChange();
    return true;
  }

  /** Hold frames back until `load` or `release`, so that old history never overwrites what they bring. */
  hold() {
    this.held ??= [];
  }

  release() {
    const frames = this.held ?? [];
    this.held = null;
    for (const frame of frames) this.frame(frame);
    this.onChange();
  }

  frame(frame) {
    if (this.held) {
      this.held.push(frame);
      return;
    }
    if (frame.turn_id && !this.turns.has(frame.turn_id)) {
      this.turns.set(frame.turn_id, true);
      const own = this.unconfirmed.find((entry) => entry.state === "sent");
      if (own) {
        own.state = "taken";
        this.midway = false;
      } else {
        // Somebody else's message is being answered, from another tab perhaps; only the history has it.
        this.held = [frame];
        this.loadHistory();
        return;
      }
    }
    this.unanswered = false;
    if (frame.type === "assistant_message") this.#assistant(frame);
    else if (frame.type === "tool_call") this.#toolCall(frame);
    else if (frame.type === "error") this.#error(frame);
    this.onChange();
  }

  /** Show the stored messages; `afterGap` when frames may have been missed. Releases the frames that were held. */
  load(messages, { afterGap }) {
    if (afterGap) this.#forgetUnderWay();
    const nodes = this.#nodesOf(messages);
    arrange(this.log, nodes);
    for (const entry of this.unconfirmed) if (afterGap && entry.state !== "lost") this.#lost(entry);
    const last = messages.at(-1)?.role;
    this.unanswered = last === "user" || last === "tool";
    if (afterGap) this.midway = this.unanswered;
    this.release();
  }

  #forgetUnderWay() {
    for (const draft of this.drafts.values()) draft.node.remove();
    this.drafts.clear();
    this.turns.clear();
  }

  #nodesOf(messages) {
    const nodes = [];
    const known = this.cards.filter((card) => card.node.dataset.message);
    const fresh = this.cards.filter((card) => !card.node.dataset.message);
    let open = [];
    for (const stored of messages) {
      if (stored.role === "tool") {
        const card = open.find((one) => one.id === stored.tool_call_id);
        open = open.filter((one) => one !== card);
        if (card) {
          card.settle(stored.content);
          continue;
        }
      }
      if (stored.role === "assistant") {
        // A session works on one turn at a time: an answer means that no earlier call is waited for any more.
        for (const card of open) card.close();
        open = [];
      }
      if (stored.content || !stored.tool_calls) nodes.push(this.#nodeOf(stored));
      for (const call of stored.tool_calls ?? []) {
        const mine = (card) => card.id === call.id;
        const card =
          known.find((one) => mine(one) && one.node.dataset.message === stored.id) ??
          take(fresh, mine) ??
          this.#card({ id: call.id, tool: call.function.name, args: call.function.arguments });
        card.node.dataset.message = stored.id;
        open.push(card);
        nodes.push(card.node);
      }
    }
    return nodes;
  }

  #nodeOf(stored) {
    const draft = [...this.drafts].find(([, one]) => one.id === stored.id);
    if (draft) this.#endDraft(draft[0], stored.content);
    if (!this.stored.has(stored.id)) {
      const own = stored.role === "user" && take(this.unconfirmed, (entry) => entry.text === stored.content);
      own?.node?.querySelector(".remark")?.remove();
      const label = LABELS[stored.role] ?? stored.role;
      this.stored.set(stored.id, own?.node ?? message(stored.role, label, stored.content, stored.created_at));
    }
    return this.stored.get(stored.id);
  }

  #assistant(frame) {
    this.#closeCards();
    if (frame.is_final) {
      const draft = this.drafts.get(frame.turn_id);
      if (draft?.id === frame.message_id) this.#endDraft(frame.turn_id, frame.content);
      else {
        this.#dropDraft(frame.turn_id);
        if (!this.stored.has(frame.message_id)) this.#add(frame.message_id, frame.content);
      }
      this.turns.set(frame.turn_id, false);
    } else if (!this.stored.has(frame.message_id)) {
      this.turns.set(frame.turn_id, true);
      bodyOf(this.#draft(frame).node).append(frame.token);
    }
  }

  #draft(frame) {
    // Another id in the same turn: its worker went away, and the next one says it again from the start.
    if (this.drafts.get(frame.turn_id)?.id !== frame.message_id) {
      this.#dropDraft(frame.turn_id);
      const node = message("assistant", LABELS.assistant);
      // Read out when it is complete, not word by word.
      node.setAttribute("aria-busy", "true");
      if (this.midway) bodyOf(node).append("… ");
      this.midway = false;
      this.log.append(node);
      this.drafts.set(frame.turn_id, { id: frame.message_id, node });
    }
    return this.drafts.get(frame.turn_id);
  }

  #add(id, text) {
    this.stored.set(id, message("assistant", LABELS.assistant, text));
    this.log.append(this.stored.get(id));
  }

  #endDraft(turn, text) {
    const draft = this.drafts.get(turn);
    if (!draft) return;
    this.drafts.delete(turn);
    showText(bodyOf(draft.node), text ?? bodyOf(draft.node).textContent);
    draft.node.removeAttribute("aria-busy");
    this.stored.set(draft.id, draft.node);
  }

  #dropDraft(turn) {
    this.drafts.get(turn)?.node.remove();
    this.drafts.delete(turn);
  }

  #toolCall(frame) {
    this.turns.set(frame.turn_id, true);
    this.#endDraft(frame.turn_id);
    const shown = this.cards.findLast((card) => card.isOpen && card.id === frame.call_id);
    if (shown) {
      shown.requireApproval(frame.requires_approval);
      return;
    }
    const { _, ...args } = frame.arguments;
    const card = this.#card({
      id: frame.call_id,
      tool: frame.tool_name,
      // The protocol never sends an empty object; this is what stands for one.
      args: _ === "" ? args : frame.arguments,
      approval: frame.requires_approval,
    });
    this.log.append(card.node);
  }

  #card(call) {
    const card = new ToolCard(call, (one, fields) => this.#answer(one, fields));
    this.cards.push(card);
    return card;
  }

  #answer(card, fields) {
    if (!this.send({ type: "tool_result", call_id: card.id, ...fields })) return;
    this.lastSent = { refused: (code) => code === "tool_call_finished" || card.reopen() };
    if (fields.error) card.finish("refused", null, "failed");
    else card.finish("result sent", pretty(fields.result));
    this.onChange();
  }

  #closeCards() {
    for (const card of this.cards) card.close();
  }

  #error(frame) {
    if (frame.turn_id) {
      const draft = this.drafts.get(frame.turn_id);
      const text = frame.error_code === STOPPED ? "Stopped." : "Interrupted: this is not the whole answer.";
      if (draft) draft.node.append(remark(text));
      this.#endDraft(frame.turn_id);
      this.#closeCards();
      this.turns.set(frame.turn_id, false);
      if (frame.error_code === STOPPED) {
        // What the user asked for is no error.
        if (!draft) this.log.append(remark("Stopped."));
        return;
      }
    } else if (frame.error_code === "nothing_to_cancel") {
      return; // the answer's end and the wish to stop it have crossed
    } else {
      // Frames are answered in order and refused at once, so it can only be the newest one.
      this.lastSent?.refused(frame.error_code);
      this.lastSent = null;
    }
    this.log.append(errorCard(frame.content, frame.error_code));
  }

  #refused(entry) {
    take(this.unconfirmed, (one) => one === entry);
    this.#offer(entry, "Not taken by the server.");
    this.putBack(entry.text, { onlyIfEmpty: true });
  }

  #lost(entry) {
    entry.state = "lost";
    this.#offer(entry, "The connection broke before the server had this message.");
  }

  #offer(entry, text) {
    entry.node.append(remark(text, "Write it again", () => this.putBack(entry.text)));
  }
}

function take(list, test) {
  const index = list.findIndex(test);
  return index < 0 ? undefined : list.splice(index, 1)[0];
}

/** Put nodes in order without touching those that are in place already; nodes in between stay after their neighbour. */
function arrange(log, nodes) {
  const wanted = new Set(nodes);
  const followers = new Map([[null, []], ...nodes.map((node) => [node, []])]);
  let neighbour = null;
  for (const child of log.children) {
    if (wanted.has(child)) neighbour = child;
    else followers.get(neighbour).push(child);
  }
  let place = log.firstChild;
  for (const node of [null, ...nodes].flatMap((one) => (one ? [one, ...followers.get(one)] : followers.get(null)))) {
    if (node === place) place = place.nextSibling;
    else log.insertBefore(node, place);
  }
}
