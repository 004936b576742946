/** The socket of one session, in `codelab.v2`. It reconnects after each failure, until a close code is final. */

const PROTOCOL = "codelab.v2";
// Close codes after which a retry cannot help: not signed in, foreign origin, invalid session name, and deleted (the
// server would create the session again, empty).
export const CLOSE_NOT_SIGNED_IN = 4401;
export const CLOSE_DELETED = 4410;
const FINAL_CLOSE_CODES = new Set([CLOSE_NOT_SIGNED_IN, 4403, 4404, CLOSE_DELETED]);
// The server restarts, and its successor is about to be ready.
const CLOSE_RESTARTING = 1012;
// The delay is random, below a bound that grows: all clients must not come back at once after a restart.
const MIN_RETRY_DELAY_MS = 500;
const MAX_RETRY_DELAY_MS = 5000;
// A shorter connection does not prove that the server is healthy, so the delay keeps growing.
const STABLE_AFTER_MS = 5000;
// A server that does not answer within this time is gone, even if the socket is open. The server itself takes 3 s at most.
const ANSWER_TIMEOUT_MS = 10_000;
// The `ref` of each socket's first frame.
const HELLO = "hello";
const OPEN = 1; // `WebSocket.OPEN`, which those of packages may not have
// Where a refusal of `hello` closes the socket, too, that follows at once.
const CLOSE_FOLLOWS_MS = 1000;
// Errors that pass by themselves.
const PASSING_CODES = new Set(["storage_unavailable", "broker_unavailable", "shutting_down", "rate_limited"]);

export class Connection {
  /**
   * `hello()` returns the first frame of each socket. `onFrame(frame)` receives all frames after it, `welcome` first.
   * `onState(name, code)`: connecting, open, waiting or refused. `credentials` may renew themselves. `WebSocket` is for
   * Node before 22, which has none.
   */
  constructor(name, { url, credentials, WebSocket = globalThis.WebSocket, hello, onFrame, onState }) {
    if (!WebSocket) throw new TypeError("This runtime has no WebSocket: pass one as the option `WebSocket`, as of the package ws.");
    const address = new URL(`/ws/${encodeURIComponent(name)}`, url);
    address.protocol = address.protocol.replace("http", "ws");
    Object.assign(this, { name, address, credentials, WebSocket, hello, onFrame, onState });
    this.failures = 0;
    this.abortController = new AbortController();
    this.#watchPage(this.abortController);
    this.#open();
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** Say `hello` again, with what has changed. Before the first one there is nothing to correct. */
  repeatHello() {
    if (this.socket?.readyState === OPEN) this.#sayHello();
  }

  /** Reconnect unless a frame comes in time. */
  expectAnswer() {
    clearTimeout(this.answerTimer);
    this.answerTimer = setTimeout(() => this.reconnect(), ANSWER_TIMEOUT_MS);
  }

  /** Abandon this socket and open another. */
  reconnect(code = 0) {
    this.#handleClose(this.socket, code);
  }

  /** Close for good. */
  close() {
    this.abortController.abort();
    clearTimeout(this.retryTimer);
    const { socket } = this;
    this.#detach();
    socket?.close();
  }

  /** Come back as soon as a browser has a network again, or is looked at. */
  #watchPage({ signal }) {
    globalThis.addEventListener?.("online", () => this.#reconnectNow(), { signal });
    globalThis.addEventListener?.("offline", () => this.reconnect(), { signal });
    const { document } = globalThis;
    document?.addEventListener("visibilitychange", () => document.hidden || this.#reconnectNow(), { signal });
  }

  #open() {
    clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.onState("connecting");
    if (this.credentials) this.#authorize();
    else this.#connect([], {});
  }

  async #authorize() {
    try {
      const { protocols, query } = await this.credentials.forSocket(this.name);
      if (!this.abortController.signal.aborted) this.#connect(protocols, query);
    } catch (error) {
      if (this.abortController.signal.aborted) return;
      // An error with a code is the server's word. Without one the server could not be asked.
      if (error.code) this.onState("refused", CLOSE_NOT_SIGNED_IN, error);
      else this.#scheduleReconnect(0);
    }
  }

  #connect(protocols, query) {
    const address = new URL(this.address);
    for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
    const socket = new this.WebSocket(address, [PROTOCOL, ...protocols]);
    this.socket = socket;
    // The server may not even open the socket.
    this.expectAnswer();
    socket.onopen = () => socket === this.socket && this.#sayHello();
    socket.onmessage = ({ data }) => socket === this.socket && this.#handleFrame(JSON.parse(data));
    socket.onclose = ({ code }) => this.#handleClose(socket, code);
    // A close follows, and says all that can be known.
    socket.onerror = () => {};
  }

  #sayHello() {
    this.send({ ...this.hello(), ref: HELLO });
  }

  #handleFrame(frame) {
    clearTimeout(this.answerTimer);
    if (frame.type === "welcome") {
      this.hasWelcome = true;
      this.isRenewed = false;
      clearTimeout(this.stableTimer);
      this.stableTimer = setTimeout(() => (this.failures = 0), STABLE_AFTER_MS);
      this.onFrame(frame);
      this.onState("open");
    } else if (this.hasWelcome) this.onFrame(frame);
    else if (PASSING_CODES.has(frame.error_code)) this.reconnect();
    else {
      // Any other frame before `welcome` is a refusal. Its close code follows, unless what `hello` says cannot be used.
      this.refusal = frame;
      if (frame.ref === HELLO) this.answerTimer = setTimeout(() => this.#refuse(), CLOSE_FOLLOWS_MS);
      else this.expectAnswer();
    }
  }

  /** Give up: the same `hello` would be refused again. */
  #refuse() {
    const { socket } = this;
    this.#detach();
    socket.close();
    this.onState("refused", 0, this.refusal);
  }

  #handleClose(socket, code) {
    // An abandoned socket closes late, sometimes after its successor has opened.
    if (!socket || socket !== this.socket) return;
    this.#detach();
    socket.close();
    if (code === CLOSE_NOT_SIGNED_IN && this.credentials?.isRenewable && !this.isRenewed) {
      // Once: a new token that is refused, too, will not get better.
      this.isRenewed = true;
      this.credentials.forgetToken();
      this.#open();
    } else if (FINAL_CLOSE_CODES.has(code)) this.onState("refused", code, this.refusal);
    else this.#scheduleReconnect(code);
  }

  #detach() {
    this.socket = null;
    this.hasWelcome = false;
    clearTimeout(this.stableTimer);
    clearTimeout(this.answerTimer);
  }

  #scheduleReconnect(code) {
    if (code === CLOSE_RESTARTING) this.failures = 0;
    const bound = Math.min(2 * MIN_RETRY_DELAY_MS * 2 ** this.failures++, MAX_RETRY_DELAY_MS);
    const delay = MIN_RETRY_DELAY_MS + Math.random() * (bound - MIN_RETRY_DELAY_MS);
    this.retryTimer = setTimeout(() => this.#open(), delay);
    this.onState("waiting", code);
  }

  #reconnectNow() {
    if (this.retryTimer) this.#open();
  }
}
