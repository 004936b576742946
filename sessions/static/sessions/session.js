/** One session as this tab knows it: its state, what is still to be sent, and the connection that brings both on. */

import { Connection, DELETED } from "./connection.js";
import { takeState } from "./memory.js";
import { Outbox } from "./outbox.js";
import { apply, fromSnapshot, NOTHING, openTurns } from "./state.js";

// Refusals that pass by themselves; nothing was stored, and the same is sent again.
const PASSING = new Set(["storage_unavailable", "broker_unavailable"]);
// Refusals that are told by a close code right afterwards.
const CLOSING = new Set(["not_signed_in", "origin_not_allowed", "invalid_session_key", "too_many_frames", "session_deleted"]);
// Refusals that mean: it is done already, or has become pointless. Nobody needs to hear of them.
const POINTLESS = new Set([
  ...["nothing_to_cancel", "message_not_found", "tool_call_finished", "unknown_tool_call"],
  ...["approval_decided", "unknown_plan"],
]);
const SOCKET_TOO_BIG = 1009;

export class Session {
  /**
   * `onChange()` is told of every change, `onEvent(event)` of every event, `onNotice(text)` of what did not work,
   * `onState(name, code)` of the connection.
   */
  constructor(key, { onChange, onEvent, onNotice, onState }) {
    Object.assign(this, { key, onChange, onEvent, onNotice, onState });
    this.state = takeState(key) ?? NOTHING;
    this.outbox = new Outbox(key);
    this.gapAt = null; // number after which events were missing
    this.isDeleted = false; // the server has it no more: nothing is sent, and nothing will come
    this.unsent = []; // what was written for it and can no longer be sent
  }

  /** Connect; does nothing when it has been done. */
  start() {
    this.connection ??= new Connection(this.key, {
      after: () => this.#after(),
      onFrame: (frame) => this.#take(frame),
      onState: (name, code) => this.#connectionChanged(name, code),
    });
  }

  get isOpen() {
    return this.connectionState === "open";
  }

  /** Send a message; `images` are ids of pictures that this session has. */
  say(content, { images = [], interrupt = false } = {}) {
    this.#add({ type: "user_message", content, ...shown(images), ...(interrupt && { interrupt }) });
  }

  /** Stop what is being answered. */
  stop() {
    const [turn_id] = openTurns(this.state);
    if (turn_id && !this.outbox.find("cancel", { turn_id })) this.#add({ type: "cancel", turn_id });
  }

  answer(call_id, fields) {
    this.#add({ type: "tool_result", call_id, ...fields });
  }

  /** Answer a plan: {decision, modified_subtasks or feedback}. */
  decide(plan_id, fields) {
    this.#add({ type: "plan_decision", plan_id, ...fields });
  }

  edit(message_id, content) {
    this.#add({ type: "edit_message", message_id, content });
  }

  withdraw(message_id) {
    this.#add({ type: "withdraw_message", message_id });
  }

  /** Stop what is being answered and answer this waiting message: it is withdrawn and said again with priority. */
  answerNow(message_id) {
    const { content, images = [] } = this.state.messages.find((message) => message.message_id === message_id);
    const again = { type: "user_message", content, ...shown(images.map((image) => image.image_id)), interrupt: true };
    this.#add({ type: "withdraw_message", message_id }, again);
  }

  /** Forget a message that was refused, or never sent. */
  discard(id) {
    this.outbox.remove(id);
    this.#changed();
  }

  close() {
    this.connectionState = "closed";
    this.connection.close();
  }

  #add(frame, then) {
    if (this.isDeleted) return;
    this.outbox.add(frame, { after: this.state.number, then });
    this.#changed();
  }

  #changed() {
    this.#send();
    this.onChange();
  }

  #send() {
    const entry = this.isOpen && this.outbox.next();
    if (!entry) return;
    this.connection.send(entry.frame);
    this.connection.expectAnswer();
  }

  #after() {
    // Twice nothing fits: what is known here is not what the server has.
    return this.gapAt === this.state.number && this.gapTwice ? undefined : this.state.number;
  }

  #connectionChanged(name, code) {
    this.connectionState = name;
    if (name === "waiting") {
      // Only what was under way can have been too big for the socket, and it would be again.
      if (code === SOCKET_TOO_BIG) this.#refused({ error_code: "frame_too_large", content: "This is too long to be sent." });
      this.outbox.restart();
    }
    if (name === "open") this.#send();
    if (code === DELETED) {
      this.isDeleted = true;
      this.unsent = this.outbox.messages.filter((entry) => !entry.number).map(({ frame }) => frame.content);
      this.outbox.clear();
    }
    this.onState(name, code);
    this.onChange();
  }

  #take(frame) {
    if (frame.type === "welcome") this.#welcome(frame);
    else if (frame.type === "event") this.#event(frame);
    else if (frame.type === "accepted") this.outbox.accepted(frame);
    else if (frame.type === "error") this.#refused(frame);
    this.outbox.reached(this.state.number);
    this.#changed();
  }

  #welcome({ mode, snapshot }) {
    if (mode !== "snapshot") return;
    this.state = fromSnapshot(snapshot);
    this.gapAt = null;
  }

  #event(event) {
    const { number } = this.state;
    if (event.number <= number) return;
    if ((event.first ?? event.number) !== number + 1) {
      this.gapTwice = this.gapAt === number;
      this.gapAt = number;
      this.connection.again();
      return;
    }
    this.state = apply(this.state, event);
    this.outbox.happened(event);
    this.onEvent(event);
  }

  #refused({ error_code: code, content: text }) {
    if (CLOSING.has(code)) return;
    const entry = this.outbox.refused(code);
    if (!entry) return;
    if (PASSING.has(code)) this.#rest(entry);
    else if (entry.frame.type === "user_message") this.outbox.keepRefusal(entry, { code, text });
    else if (code === "message_not_found" && entry.then) this.outbox.taken(entry);
    else {
      this.outbox.remove(entry.id);
      if (!POINTLESS.has(code)) this.onNotice(text, entry.frame);
    }
  }

  #rest(entry) {
    entry.resting = true;
    setTimeout(() => {
      delete entry.resting;
      this.#changed();
    }, 500 + Math.random() * 4500);
  }
}

function shown(images) {
  return images.length ? { images } : {};
}
