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

export class Connection {
  /**
   * `after()` returns the number of the last known event. `onFrame(frame)` receives all frames after it, `welcome` first.
   * `onState(name, code)`: connecting, open, waiting or refused.
   */
  constructor(key, { after, onFrame, onState }) {
    const url = new URL(`/ws/${encodeURIComponent(key)}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    Object.assign(this, { url, after, onFrame, onState });
    this.failures = 0;
    this.abortController = new AbortController();
    const { signal } = this.abortController;
    addEventListener("online", () => this.#reconnectNow(), { signal });
    addEventListener("offline", () => this.reconnect(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#reconnectNow(), { signal });
    this.#open();
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
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

  #open() {
    clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.onState("connecting");
    const socket = new WebSocket(this.url, PROTOCOL);
    this.socket = socket;
    // The server may not even open the socket.
    this.expectAnswer();
    socket.onopen = () => socket === this.socket && this.send({ type: "hello", after: this.after(), plans: true });
    socket.onmessage = ({ data }) => socket === this.socket && this.#handleFrame(JSON.parse(data));
    socket.onclose = ({ code }) => this.#handleClose(socket, code);
  }

  #handleFrame(frame) {
    clearTimeout(this.answerTimer);
    if (frame.type === "welcome") {
      this.hasWelcome = true;
      this.stableTimer = setTimeout(() => (this.failures = 0), STABLE_AFTER_MS);
      this.onFrame(frame);
      this.onState("open");
    } else if (this.hasWelcome) this.onFrame(frame);
    else if (frame.error_code === "storage_unavailable") this.reconnect();
    // Any other frame before `welcome` is a refusal; its close code follows.
    else this.expectAnswer();
  }

  #handleClose(socket, code) {
    // An abandoned socket closes late, sometimes after its successor has opened.
    if (!socket || socket !== this.socket) return;
    this.#detach();
    socket.close();
    if (FINAL_CLOSE_CODES.has(code)) this.onState("refused", code);
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
