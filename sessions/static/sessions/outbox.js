/**
 * What the user has asked for and the server has not acknowledged yet, kept through reloads. It is sent one at a time,
 * so that a refusal can only mean the entry that is under way, and again on each new socket until its outcome is known.
 *
 * An entry: `id`, the `frame` to send, `after` (the newest event when it was written), `then` (a frame to send when
 * this one has been taken), `sent`, `resting` while it is not sent again yet, `number` of the event that shows it, and
 * `refusal` ({code, text}).
 */

import { keepOutbox, outboxes } from "./memory.js";

const TURN_ENDS = new Set(["turn_completed", "turn_failed", "turn_cancelled"]);

// Which event shows that a frame was taken. A message is acknowledged by name instead.
const SHOWS = {
  edit_message: (frame, kind, payload) =>
    kind === "message_edited" && payload.message_id === frame.message_id && payload.content === frame.content,
  withdraw_message: (frame, kind, payload) => kind === "message_withdrawn" && payload.message_id === frame.message_id,
  tool_result: (frame, kind, payload) => kind === "tool_call_finished" && payload.call_id === frame.call_id,
  plan_decision: (frame, kind, payload) =>
    (kind === "plan_decided" || kind === "plan_finished") && payload.plan_id === frame.plan_id,
  cancel: (frame, kind, payload) => TURN_ENDS.has(kind) && payload.turn_id === frame.turn_id,
};

// Refusals that can only mean one type of frame, and come late when its event was faster.
const CONCERNS = {
  nothing_to_cancel: ["cancel"],
  message_begun: ["edit_message", "withdraw_message"],
  message_not_found: ["edit_message", "withdraw_message"],
  tool_call_finished: ["tool_result"],
  unknown_tool_call: ["tool_result"],
  unknown_plan: ["plan_decision"],
  approval_decided: ["plan_decision"],
  invalid_arguments: ["plan_decision"],
};

export class Outbox {
  constructor(key) {
    this.key = key;
    this.entries = outboxes()[key] ?? [];
    this.restart();
  }

  /** Messages that the conversation does not show yet. */
  get messages() {
    return this.entries.filter((entry) => entry.frame.type === "user_message");
  }

  get isDone() {
    return this.entries.every((entry) => entry.refusal);
  }

  find(type, fields) {
    const same = ({ frame }) => frame.type === type && Object.entries(fields).every(([name, value]) => frame[name] === value);
    return this.entries.findLast(same);
  }

  add(frame, { after, then } = {}) {
    const id = randomId();
    if (frame.type === "user_message") frame = { ...frame, client_message_id: id };
    this.entries.push({ id, frame, after, then });
    this.#keep();
  }

  remove(id) {
    this.entries = this.entries.filter((entry) => entry.id !== id);
    if (this.underWay?.id === id) this.underWay = null;
    this.#keep();
  }

  /** Forget everything: there is nobody to send it to. */
  clear() {
    this.entries = [];
    this.underWay = null;
    this.#keep();
  }

  /** Take the next entry to send, if there is one and none is under way. */
  next() {
    if (this.underWay) return null;
    let held = false; // messages never overtake each other
    for (const entry of this.entries) {
      const isMessage = entry.frame.type === "user_message";
      if (entry.refusal || entry.number || (isMessage && held)) continue;
      if (!entry.resting) {
        this.underWay = entry;
        entry.sent = true;
        this.#keep();
        return entry;
      }
      held ||= isMessage;
    }
    return null;
  }

  /** On a new socket everything is sent again whose outcome is not known. */
  restart() {
    this.underWay = null;
    for (const entry of this.entries) delete entry.resting;
  }

  /** The server has stored a message; it is shown by the event before `number`. */
  accepted({ client_message_id, number }) {
    const entry = this.entries.find((one) => one.id === client_message_id);
    if (!entry) return;
    entry.number = number;
    if (this.underWay === entry) this.underWay = null;
    this.#keep();
  }

  /** An event has happened: what it shows needs not be sent any more. */
  happened({ kind, payload }) {
    for (const entry of this.entries.filter(({ frame }) => SHOWS[frame.type]?.(frame, kind, payload))) this.taken(entry);
  }

  /** All events up to this number are known. */
  reached(number) {
    for (const entry of this.entries.filter((one) => one.number <= number)) this.remove(entry.id);
  }

  /** Remove an entry that was taken, and put what was to follow in its place. */
  taken({ id, then, after }) {
    this.remove(id);
    if (then) this.add(then, { after });
  }

  /** Return the entry that a refusal means, which is then no longer under way; null when it comes too late for any. */
  refused(code) {
    const entry = this.underWay;
    const types = CONCERNS[code];
    if (!entry || (types && !types.includes(entry.frame.type))) return null;
    this.underWay = null;
    return entry;
  }

  keepRefusal(entry, refusal) {
    entry.refusal = refusal;
    this.#keep();
  }

  #keep() {
    keepOutbox(this.key, this.entries);
  }
}

function randomId() {
  // Not randomUUID: browsers have it on https and localhost only.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
