/** The socket of one session, in `codelab.v2`: opened again whenever it breaks, until the server says never. */

const PROTOCOL = "codelab.v2";
// Close codes after which trying again cannot help: not signed in, foreign origin, impossible name of a session. A session
// that was deleted would only be made again, empty.
export const DELETED = 4410;
const REFUSALS = new Set([4401, 4403, 4404, DELETED]);
// The server is told to end, and another one is about to take its place.
const RESTARTING = 1012;
// Milliseconds before another try: chosen at random between the shortest and a longest that grows, so that after a
// restart of the server not everybody comes back in the same moment.
const SHORTEST = 500;
const LONGEST = 5000;
// A socket that lived shorter than this did not prove that the server is well, so the delay goes on growing.
const STABLE = 5000;
// A server that has not answered after this is not there, whatever the socket says; it gives itself 3 s.
const SILENCE = 10_000;

export class Connection {
  /**
   * `after()` is the number of the last event that is known; `onFrame(frame)` gets all that follows, `welcome` first.
   * `onState(name, code)`: connecting, open, waiting or refused.
   */
  constructor(key, { after, onFrame, onState }) {
    const url = new URL(`/ws/${encodeURIComponent(key)}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    Object.assign(this, { url, after, onFrame, onState });
    this.failures = 0;
    this.ended = new AbortController();
    const { signal } = this.ended;
    addEventListener("online", () => this.#hurry(), { signal });
    addEventListener("offline", () => this.again(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry(), { signal });
    this.#open();
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** Expect word from the server; a socket that stays silent is given up. Each frame that comes ends the wait. */
  expectAnswer() {
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.again(), SILENCE);
  }

  /** Give this socket up, and come back with another. */
  again(code = 0) {
    this.#closed(this.socket, code);
  }

  /** End it for good. */
  close() {
    this.ended.abort();
    clearTimeout(this.planned);
    const { socket } = this;
    this.#forget();
    socket?.close();
  }

  #open() {
    clearTimeout(this.planned);
    this.planned = null;
    this.onState("connecting");
    const socket = new WebSocket(this.url, PROTOCOL);
    this.socket = socket;
    // Also for a server that does not even open the socket.
    this.expectAnswer();
    socket.onopen = () => socket === this.socket && this.send({ type: "hello", after: this.after(), plans: true });
    socket.onmessage = ({ data }) => socket === this.socket && this.#take(JSON.parse(data));
    socket.onclose = ({ code }) => this.#closed(socket, code);
  }

  #take(frame) {
    clearTimeout(this.patience);
    if (frame.type === "welcome") {
      this.isWelcome = true;
      this.proof = setTimeout(() => (this.failures = 0), STABLE);
      this.onFrame(frame);
      this.onState("open");
    } else if (this.isWelcome) this.onFrame(frame);
    else if (frame.error_code === "storage_unavailable") this.again();
    // Any other word before the welcome is a refusal, and its close code follows.
    else this.expectAnswer();
  }

  #closed(socket, code) {
    // A socket that was given up closes late, sometimes after its successor has opened.
    if (!socket || socket !== this.socket) return;
    this.#forget();
    socket.close();
    if (REFUSALS.has(code)) this.onState("refused", code);
    else this.#wait(code);
  }

  #forget() {
    this.socket = null;
    this.isWelcome = false;
    clearTimeout(this.proof);
    clearTimeout(this.patience);
  }

  #wait(code) {
    if (code === RESTARTING) this.failures = 0;
    const longest = Math.min(2 * SHORTEST * 2 ** this.failures++, LONGEST);
    this.planned = setTimeout(() => this.#open(), SHORTEST + Math.random() * (longest - SHORTEST));
    this.onState("waiting", code);
  }

  #hurry() {
    if (this.planned) this.#open();
  }
}
