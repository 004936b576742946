/** One session in this tab: its state, its outbox and its connection. */

import { CLOSE_DELETED, Connection } from "./connection.js";
import { Outbox } from "./outbox.js";
import { apply, EMPTY_STATE, fromSnapshot, openTurns } from "./state.js";

// Temporary errors: nothing was stored, and the same frame is sent again.
const RETRYABLE_CODES = new Set(["storage_unavailable", "broker_unavailable"]);
// Errors that a close code follows.
const CLOSING_CODES = new Set(["not_signed_in", "origin_not_allowed", "invalid_session_key", "too_many_frames", "session_deleted"]);
// Errors about frames that are done already or no longer matter. The user need not see them.
const OBSOLETE_CODES = new Set([
  ...["nothing_to_cancel", "message_not_found", "tool_call_finished", "unknown_tool_call"],
  ...["approval_decided", "unknown_plan"],
]);
const CLOSE_TOO_BIG = 1009;
const MIN_RETRY_DELAY_MS = 500;
const MAX_RETRY_DELAY_MS = 5000;

export class Session {
  /**
   * `onChange()` follows every change, `onEvent(event)` every event, `onNotice(text, frame)` every rejected frame, and
   * `onState(name, code)` the connection. `storage` may keep a state (`takeState()`) and the outbox through a reload.
   */
  constructor(key, { storage, onChange, onEvent, onNotice, onState }) {
    Object.assign(this, { key, onChange, onEvent, onNotice, onState });
    this.state = storage?.takeState() ?? EMPTY_STATE;
    this.outbox = new Outbox(storage);
    this.gapAt = null; // number after which events were missing
    this.isDeleted = false; // on the server: nothing is sent or received any more
    this.unsent = []; // texts that can no longer be sent
  }

  /** Connect, if not done yet. */
  start() {
    this.connection ??= new Connection(this.key, {
      after: () => this.#after(),
      onFrame: (frame) => this.#handleFrame(frame),
      onState: (name, code) => this.#handleState(name, code),
    });
  }

  get isOpen() {
    return this.connectionState === "open";
  }

  /** Send a message; `images` are ids of images of this session, `when` is "queue", "interrupt" or "steer". */
  sendMessage(content, { images = [], when = "queue" } = {}) {
    this.#add({ type: "user_message", content, ...imageFields(images), ...(when !== "queue" && { when }) });
  }

  /** Stop the current answer. */
  stop() {
    const [turn_id] = openTurns(this.state);
    if (turn_id && !this.outbox.find("cancel", { turn_id })) this.#add({ type: "cancel", turn_id });
  }

  answer(call_id, fields) {
    this.#add({ type: "tool_result", call_id, ...fields });
  }

  /** Decide on a plan: {decision, modified_subtasks or feedback}. */
  decide(plan_id, fields) {
    this.#add({ type: "plan_decision", plan_id, ...fields });
  }

  edit(message_id, content) {
    this.#add({ type: "edit_message", message_id, content });
  }

  withdraw(message_id) {
    this.#add({ type: "withdraw_message", message_id });
  }

  /** Have a message that waits count sooner: withdraw it, and send it again with another `when`. */
  hurry(message_id, when) {
    const { content, images = [] } = this.state.messages.find((message) => message.message_id === message_id);
    const again = { type: "user_message", content, ...imageFields(images.map((image) => image.image_id)), when };
    this.#add({ type: "withdraw_message", message_id }, again);
  }

  /** Remove a message that was rejected or never sent. */
  discard(id) {
    this.outbox.remove(id);
    this.#update();
  }

  close() {
    this.connectionState = "closed";
    this.connection.close();
  }

  #add(frame, then) {
    if (this.isDeleted) return;
    this.outbox.add(frame, { after: this.state.number, then });
    this.#update();
  }

  #update() {
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
    // The same gap twice: this state is not the server's, so ask for a snapshot.
    return this.gapAt === this.state.number && this.isGapRepeated ? undefined : this.state.number;
  }

  #handleState(name, code) {
    this.connectionState = name;
    if (name === "waiting") {
      // Only the frame in flight can have been too big, and it would be again.
      if (code === CLOSE_TOO_BIG) this.#handleError({ error_code: "frame_too_large", content: "Your message is too long to send." });
      this.outbox.restart();
    }
    if (name === "open") this.#send();
    if (code === CLOSE_DELETED) {
      this.isDeleted = true;
      this.unsent = this.outbox.messages.filter((entry) => !entry.number).map(({ frame }) => frame.content);
      this.outbox.clear();
    }
    this.onState(name, code);
    this.onChange();
  }

  #handleFrame(frame) {
    if (frame.type === "welcome") this.#handleWelcome(frame);
    else if (frame.type === "event") this.#handleEvent(frame);
    else if (frame.type === "accepted") this.outbox.markStored(frame);
    else if (frame.type === "error") this.#handleError(frame);
    this.outbox.removeThrough(this.state.number);
    this.#update();
  }

  #handleWelcome({ mode, snapshot }) {
    if (mode !== "snapshot") return;
    this.state = fromSnapshot(snapshot);
    this.gapAt = null;
  }

  #handleEvent(event) {
    const { number } = this.state;
    if (event.number <= number) return;
    if ((event.first ?? event.number) !== number + 1) {
      this.isGapRepeated = this.gapAt === number;
      this.gapAt = number;
      this.connection.reconnect();
      return;
    }
    this.state = apply(this.state, event);
    this.outbox.handleEvent(event);
    this.onEvent(event);
  }

  #handleError({ error_code: code, content: text }) {
    if (CLOSING_CODES.has(code)) return;
    const entry = this.outbox.takeFailed(code);
    if (!entry) return;
    if (RETRYABLE_CODES.has(code)) this.#retryLater(entry);
    else if (entry.frame.type === "user_message") this.outbox.setRefusal(entry, { code, text });
    else if (code === "message_not_found" && entry.then) this.outbox.complete(entry);
    else {
      this.outbox.remove(entry.id);
      if (!OBSOLETE_CODES.has(code)) this.onNotice(text, entry.frame);
    }
  }

  #retryLater(entry) {
    entry.isDelayed = true;
    setTimeout(() => {
      delete entry.isDelayed;
      this.#update();
    }, MIN_RETRY_DELAY_MS + Math.random() * (MAX_RETRY_DELAY_MS - MIN_RETRY_DELAY_MS));
  }
}

function imageFields(images) {
  return images.length ? { images } : {};
}
