/**
 * Frames that the server has not acknowledged yet. They are sent one at a time, so that an error
 * can only mean the frame in flight, and again on each new socket until their outcome is known.
 *
 * An entry: `id`; the `frame`; `after`, the newest event when it was written; `then`, a frame to send once this one is
 * accepted; `sent`; `isDelayed` until its retry; `number` of the event that shows it; and `refusal` ({code, text}).
 */

const TURN_ENDS = new Set(["turn_completed", "turn_failed", "turn_cancelled"]);

// The event that confirms a frame, and shows what it did. A message is acknowledged by id instead, all others by `ref`.
const CONFIRMATIONS = {
  edit_message: (frame, kind, payload) =>
    kind === "message_edited" && payload.message_id === frame.message_id && payload.content === frame.content,
  withdraw_message: (frame, kind, payload) => kind === "message_withdrawn" && payload.message_id === frame.message_id,
  tool_result: (frame, kind, payload) => kind === "tool_call_finished" && payload.call_id === frame.call_id,
  plan_decision: (frame, kind, payload) =>
    (kind === "plan_decided" || kind === "plan_finished") && payload.plan_id === frame.plan_id,
  cancel: (frame, kind, payload) => TURN_ENDS.has(kind) && payload.turn_id === frame.turn_id,
  hitl_decision: (frame, kind, payload) =>
    (kind === "approval_decided" || kind === "tool_call_finished") && payload.call_id === frame.call_id,
  switch_agent: (frame, kind, payload) => kind === "agent_switched" && payload.by_user && payload.to_agent === frame.agent_type,
};

// Errors that can only mean these types of frames. They come late if the event was faster. For servers without `ref`.
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
    this.promises = new Map(); // what callers of this program wait for, by entry
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

  /** Add a frame and return the entry's id. `messageId` is the client's own id of a message. */
  add(frame, { after, then, messageId } = {}) {
    const id = randomId();
    if (frame.type === "user_message") frame = { ...frame, client_message_id: messageId ?? id };
    this.entries.push({ id, frame, after, then });
    this.#save();
    return id;
  }

  /** Return the server's answer to this entry. Rejects with a CodelabError. */
  answer(id) {
    const { promise, ...settle } = withResolvers();
    // Callers need not wait.
    promise.catch(() => {});
    this.promises.set(id, settle);
    return promise;
  }

  resolve(id, frame) {
    this.promises.get(id)?.resolve(frame);
    this.promises.delete(id);
  }

  reject(id, error) {
    this.promises.get(id)?.reject(error);
    this.promises.delete(id);
  }

  rejectAll(error) {
    for (const id of [...this.promises.keys()]) this.reject(id, error);
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
        entry.tries = (entry.tries ?? 0) + 1;
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

  /** Record that the server stored a frame. One that an event shows stays until that event. */
  handleAccepted(frame) {
    const { ref, client_message_id, number } = frame;
    const isMeant = (one) => (ref ? one.id === ref : client_message_id && one.frame.client_message_id === client_message_id);
    const entry = this.entries.find(isMeant);
    if (!entry) return;
    this.resolve(entry.id, frame);
    const { type, turn_id } = entry.frame;
    if (type === "user_message") {
      entry.number = number;
      if (this.inFlight === entry) this.inFlight = null;
      this.#save();
    } else if (!CONFIRMATIONS[type] || (type === "cancel" && !turn_id)) {
      // A cancel without a turn stops whichever is open.
      this.complete(entry);
    }
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
    this.resolve(id);
    this.remove(id);
    if (then) this.add(then, { after });
  }

  /** Return the entry that an error means, no longer in flight; null if the error comes too late. */
  takeFailed({ error_code, ref }) {
    const entry = this.inFlight;
    const types = FRAME_TYPES[error_code];
    if (!entry || (ref ? ref !== entry.id : types && !types.includes(entry.frame.type))) return null;
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

function withResolvers() {
  // Not Promise.withResolvers: Node has it from 22 on.
  const settle = {};
  settle.promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
  return settle;
}

export function randomId() {
  // Not randomUUID: browsers have it on https and localhost only.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
