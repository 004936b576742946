/**
 * Frames that the server has not acknowledged yet. They are sent one at a time, so that an error
 * can only mean the frame in flight, and again on each new socket until their outcome is known.
 *
 * An entry: `id`; the `frame`; `after`, the newest event when it was written; `then`, a frame to send once this one is
 * accepted; `sent`; `isDelayed` until its retry; `number` of the event that shows it; and `refusal` ({code, text}).
 */

const TURN_ENDS = new Set(["turn_completed", "turn_failed", "turn_cancelled"]);

// The event that confirms a frame. A message is acknowledged by id instead.
const CONFIRMATIONS = {
  edit_message: (frame, kind, payload) =>
    kind === "message_edited" && payload.message_id === frame.message_id && payload.content === frame.content,
  withdraw_message: (frame, kind, payload) => kind === "message_withdrawn" && payload.message_id === frame.message_id,
  tool_result: (frame, kind, payload) => kind === "tool_call_finished" && payload.call_id === frame.call_id,
  plan_decision: (frame, kind, payload) =>
    (kind === "plan_decided" || kind === "plan_finished") && payload.plan_id === frame.plan_id,
  cancel: (frame, kind, payload) => TURN_ENDS.has(kind) && payload.turn_id === frame.turn_id,
};

// Errors that can only mean these types of frames. They come late if the event was faster.
const FRAME_TYPES = {
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
  /** `storage` may keep the entries through a reload: `entries()` returns the kept ones, `saveEntries(entries)` keeps them. */
  constructor(storage) {
    this.storage = storage;
    this.entries = storage?.entries() ?? [];
    this.restart();
  }

  /** Return the messages that the conversation does not show yet. */
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
    this.#save();
  }

  remove(id) {
    this.entries = this.entries.filter((entry) => entry.id !== id);
    if (this.inFlight?.id === id) this.inFlight = null;
    this.#save();
  }

  /** Remove everything: the session is gone. */
  clear() {
    this.entries = [];
    this.inFlight = null;
    this.#save();
  }

  /** Return the next entry to send, now in flight; null if there is none, or another one is in flight. */
  next() {
    if (this.inFlight) return null;
    let isBlocked = false; // messages never overtake each other
    for (const entry of this.entries) {
      const isMessage = entry.frame.type === "user_message";
      if (entry.refusal || entry.number || (isMessage && isBlocked)) continue;
      if (!entry.isDelayed) {
        this.inFlight = entry;
        entry.sent = true;
        this.#save();
        return entry;
      }
      isBlocked ||= isMessage;
    }
    return null;
  }

  /** Send everything whose outcome is unknown again, on a new socket. */
  restart() {
    this.inFlight = null;
    for (const entry of this.entries) delete entry.isDelayed;
  }

  /** Record that the server stored a message, which the event `number` shows. */
  markStored({ client_message_id, number }) {
    const entry = this.entries.find((one) => one.id === client_message_id);
    if (!entry) return;
    entry.number = number;
    if (this.inFlight === entry) this.inFlight = null;
    this.#save();
  }

  /** Complete the frames that this event confirms. */
  handleEvent({ kind, payload }) {
    for (const entry of this.entries.filter(({ frame }) => CONFIRMATIONS[frame.type]?.(frame, kind, payload))) this.complete(entry);
  }

  /** Remove the messages that events up to this number show. */
  removeThrough(number) {
    for (const entry of this.entries.filter((one) => one.number <= number)) this.remove(entry.id);
  }

  /** Remove an entry that was accepted, and add its next frame. */
  complete({ id, then, after }) {
    this.remove(id);
    if (then) this.add(then, { after });
  }

  /** Return the entry that an error means, no longer in flight; null if the error comes too late. */
  takeFailed(code) {
    const entry = this.inFlight;
    const types = FRAME_TYPES[code];
    if (!entry || (types && !types.includes(entry.frame.type))) return null;
    this.inFlight = null;
    return entry;
  }

  setRefusal(entry, refusal) {
    entry.refusal = refusal;
    this.#save();
  }

  #save() {
    this.storage?.saveEntries(this.entries);
  }
}

function randomId() {
  // Not randomUUID: browsers have it on https and localhost only.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
