/** One session of this program: its state, its outbox, its tools and its connection. */

import { CLOSE_DELETED, Connection } from "./connection.js";
import { CodelabError, TurnFailed } from "./errors.js";
import { Outbox, randomId } from "./outbox.js";
import { apply, EMPTY_STATE, fromSnapshot, openTurns } from "./state.js";
import { definitionOf, Toolbox } from "./tools.js";

// Temporary errors: nothing was stored, and the same frame is sent again.
const RETRYABLE_CODES = new Set(["storage_unavailable", "broker_unavailable"]);
// Errors that a close code follows.
const CLOSING_CODES = new Set(["not_signed_in", "origin_not_allowed", "invalid_session_key", "too_many_frames", "session_deleted"]);
// Errors about frames that are done already or no longer matter. The user need not see them.
const OBSOLETE_CODES = new Set([
  ...["nothing_to_cancel", "message_not_found", "tool_call_finished", "unknown_tool_call"],
  ...["approval_decided", "unknown_plan"],
]);
const DONE_CODES = new Set(["nothing_to_cancel", "message_not_found", "message_begun", "tool_call_finished", "approval_decided"]);
const CLOSE_TOO_BIG = 1009;
const MIN_RETRY_DELAY_MS = 500;
const MAX_RETRY_DELAY_MS = 5000;

export class Session {
  /**
   * `onChange()` follows every change, `onEvent(event)` every event and snapshot, `onNotice(text, frame, code)` every rejected
   * frame, and `onState(name, code)` the connection. `storage` may keep a state (`takeState()`) and the outbox through a
   * reload. `fromStart` asks for all events, not for a snapshot: only events say how turns ended. `keepRefused` leaves
   * refused messages in the outbox, for their author. index.d.ts has all options.
   */
  constructor(name, options = {}) {
    const { url, credentials, WebSocket, storage, tools, workspace, plans = Boolean(options.approvePlan), clientId = randomId() } = options;
    const { onChange = ignore, onEvent = ignore, onNotice = ignore, onState = ignore } = options;
    const { fromStart = false, keepRefused = false, lazy } = options;
    Object.assign(this, { key: name, url, credentials, WebSocket, tools, workspace, plans, clientId });
    Object.assign(this, { onChange, onEvent, onNotice, onState, fromStart, keepRefused, lazy });
    // A stored state may be of an older version of the page.
    this.state = { ...EMPTY_STATE, ...storage?.takeState() };
    this.outbox = new Outbox(storage);
    this.toolbox = new Toolbox(this, options);
    this.asking = []; // what `ask` waits for: {turnId, messageId, resolve, reject}; several may wait for one turn
    this.gapAt = null; // number after which events were missing
    this.isDeleted = false; // on the server: nothing is sent or received any more
    this.unsent = []; // texts that can no longer be sent
  }

  /** Connect, if not done yet. */
  start() {
    this.connection ??= new Connection(this.key, {
      url: this.url ?? globalThis.location?.href,
      credentials: this.credentials,
      WebSocket: this.WebSocket,
      hello: () => this.#hello(),
      onFrame: (frame) => this.#handleFrame(frame),
      onState: (name, code, refusal) => this.#handleState(name, code, refusal),
    });
    return this;
  }

  get isOpen() {
    return this.connectionState === "open";
  }

  /**
   * Send a message. The promise resolves when the server has stored it: {message_id, turn_id, repeated}. `when` it counts
   * while a turn runs: after it (queue), instead of it (interrupt), or at its next step (steer). `replaces` is the message
   * that began the newest turn, which has ended: this one takes its place.
   */
  send(content, { when = "queue", images = [], agent, replaces, id } = {}) {
    const fields = { ...imageFields(images), ...(agent && { agent_type: agent }), ...(replaces && { replaces }) };
    return this.#add({ type: "user_message", content, ...(when !== "queue" && { when }), ...fields }, { messageId: id });
  }

  /** Send a message and return its answer: {text, turnId, inputTokens, outputTokens}. Rejects with TurnFailed. */
  async ask(content, options) {
    const { turn_id, message_id: messageId } = await this.send(content, options);
    // The turn may have left the message to another one, and that may have ended, before it is known to be stored.
    const turnId = this.state.messages.find((one) => one.message_id === messageId)?.turn_id ?? turn_id;
    const end = this.state.ends[turnId];
    if (end) return this.#answerOf(turnId, end);
    return new Promise((resolve, reject) => this.asking.push({ turnId, messageId, resolve, reject }));
  }

  /** Stop a turn; without an id the current one. */
  cancel(turn_id = openTurns(this.state)[0]) {
    if (turn_id && this.outbox.find("cancel", { turn_id })) return Promise.resolve();
    return this.#add({ type: "cancel", ...(turn_id && { turn_id }) });
  }

  /** Send the result of a tool: {result}, {parts} or {error}, and `is_error`. */
  result(call_id, fields) {
    return this.#add({ type: "tool_result", call_id, ...fields });
  }

  /** Answer an approval: approve, edit (all `arguments`), or reject, with `feedback` for the model. */
  decide(call_id, decision, { arguments: modified_arguments, feedback } = {}) {
    return this.#add({ type: "hitl_decision", call_id, decision, ...present({ modified_arguments, feedback }) });
  }

  /** Answer a plan: approve, edit (all `subtasks`), or reject, with `feedback` for the model. */
  decidePlan(plan_id, decision, { subtasks: modified_subtasks, feedback } = {}) {
    return this.#add({ type: "plan_decision", plan_id, decision, ...present({ modified_subtasks, feedback }) });
  }

  edit(message_id, content) {
    return this.#add({ type: "edit_message", message_id, content });
  }

  withdraw(message_id) {
    return this.#add({ type: "withdraw_message", message_id });
  }

  switchAgent(agent_type) {
    return this.#add({ type: "switch_agent", agent_type });
  }

  /** Tell the agents about the workspace as it is now. */
  setWorkspace(workspace) {
    this.workspace = workspace;
    return this.#add({ type: "workspace", workspace });
  }

  /** Run other tools from now on, maybe in another workspace; an empty list says that this client runs none. */
  setTools(tools, workspace) {
    Object.assign(this, { tools, workspace });
    this.toolbox.setTools(tools);
    this.connection?.repeatHello();
  }

  /** Have a message that waits count sooner: withdraw it, and send it again with another `when`. */
  hurry(message_id, when) {
    const { content, images = [] } = this.state.messages.find((message) => message.message_id === message_id);
    const again = { type: "user_message", content, ...imageFields(images.map((image) => image.image_id)), when };
    return this.#add({ type: "withdraw_message", message_id }, { then: again });
  }

  /** Remove a message that was rejected or never sent. */
  discard(id) {
    this.outbox.remove(id);
    this.#update();
  }

  /** Leave the session. Turns go on in the server. */
  close() {
    this.connectionState = "closed";
    this.connection?.close();
    this.toolbox.close();
    this.#giveUp(new CodelabError("session_closed", "The session was closed."));
  }

  #add(frame, { then, messageId } = {}) {
    if (this.isDeleted) return rejected(new CodelabError("session_deleted", "The session was deleted."));
    const answer = this.outbox.answer(this.outbox.add(frame, { after: this.state.number, then, messageId }));
    this.#update();
    return answer;
  }

  #update() {
    this.#send();
    this.onChange();
  }

  #send() {
    const entry = this.isOpen && this.outbox.next();
    if (!entry) return;
    this.connection.send({ ...entry.frame, ref: entry.id });
    this.connection.expectAnswer();
  }

  #hello() {
    const { plans, workspace, clientId, tools, lazy } = this;
    const toolFields = tools && { tools: tools.map(definitionOf), client_id: clientId };
    return { type: "hello", ...present({ after: this.#after(), workspace, lazy }), plans, ...toolFields };
  }

  #after() {
    // The same gap twice: this state is not the server's, so ask for a snapshot.
    if (this.gapAt === this.state.number && this.isGapRepeated) return undefined;
    return this.state.number || this.fromStart ? this.state.number : undefined;
  }

  #handleState(name, code, refusal) {
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
    if (name === "refused") {
      const { error_code, content } = refusal ?? {};
      this.#giveUp(new CodelabError(error_code ?? refusal?.code ?? `closed_${code}`, content ?? refusal?.message ?? "The server refused the socket."));
    }
    this.onState(name, code);
    this.onChange();
  }

  /** Tell all who wait that no answer will come. */
  #giveUp(error) {
    this.outbox.rejectAll(error);
    for (const { reject } of this.asking.splice(0)) reject(error);
  }

  #handleFrame(frame) {
    if (frame.type === "welcome") this.#handleWelcome(frame);
    else if (frame.type === "event") this.#handleEvent(frame);
    else if (frame.type === "accepted") this.outbox.handleAccepted(frame);
    else if (frame.type === "tool_call") this.toolbox.take(frame);
    else if (frame.type === "error") this.#handleError(frame);
    this.outbox.removeThrough(this.state.number);
    this.#update();
  }

  #handleWelcome({ mode, snapshot }) {
    if (mode !== "snapshot") return;
    this.state = fromSnapshot(snapshot);
    this.gapAt = null;
    this.toolbox.update(this.state, { isWhole: true });
    this.onEvent({ number: snapshot.number, kind: "snapshot", payload: snapshot });
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
    this.toolbox.update(this.state);
    this.onEvent(event);
    if (event.kind === "turn_queued") this.#handleMove(event.payload);
    this.#handleEnd(event.payload);
  }

  /** Wait for another turn: it answers messages that steered into one which has ended without reading them. */
  #handleMove({ turn_id, messages = [] }) {
    for (const one of this.asking) if (messages.includes(one.messageId)) one.turnId = turn_id;
  }

  #handleEnd({ turn_id }) {
    const end = this.state.ends[turn_id];
    if (!end) return;
    for (const { resolve, reject } of this.asking.filter(({ turnId }) => turnId === turn_id)) {
      this.#answerOf(turn_id, end).then(resolve, reject);
    }
    this.asking = this.asking.filter(({ turnId }) => turnId !== turn_id);
  }

  async #answerOf(turnId, { status, code, error, input_tokens: inputTokens, output_tokens: outputTokens }) {
    if (status !== "completed") throw new TurnFailed(code ?? status, error ?? "The turn was stopped.", turnId);
    const last = this.state.messages.findLast((one) => one.turn_id === turnId && one.role === "assistant");
    return { text: last?.content ?? "", turnId, inputTokens, outputTokens };
  }

  #handleError({ error_code: code, content: text, retry_after: retryAfter, ref }) {
    if (CLOSING_CODES.has(code)) return;
    const entry = this.outbox.takeFailed({ error_code: code, ref });
    if (!entry) return;
    if (!RETRYABLE_CODES.has(code)) this.#settle(entry, code, new CodelabError(code, text, { retryAfter }));
    if (RETRYABLE_CODES.has(code)) this.#retryLater(entry);
    else if (entry.frame.type === "user_message" && this.keepRefused) this.outbox.setRefusal(entry, { code, text });
    else if (code === "message_not_found" && entry.then) this.outbox.complete(entry);
    else {
      this.outbox.remove(entry.id);
      if (!OBSOLETE_CODES.has(code)) this.onNotice(text, entry.frame, code);
    }
  }

  /** What was done already is done: a frame may be sent again after its answer was lost. */
  #settle({ id, tries }, code, error) {
    if (tries > 1 && DONE_CODES.has(code)) this.outbox.resolve(id);
    else this.outbox.reject(id, error);
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

function present(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function rejected(error) {
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return promise;
}

function ignore() {}
