/** The socket of one session: opened again whenever it breaks, until it is closed or the server says never. */

// Close codes after which trying again cannot help: not signed in, foreign origin, impossible name of a session.
const REFUSALS = new Set([4401, 4403, 4404]);
const LONGEST_DELAY = 30;
// A socket that lived shorter than this did not prove that the server is well, so the delay goes on growing.
const STABLE = 5000;

export class Connection {
  /** `onState({name, seconds, code})`: name is connecting, open, waiting or refused. */
  constructor(key, { onState, onFrame }) {
    const url = new URL(`/ws/${encodeURIComponent(key)}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.url = url;
    this.onState = onState;
    this.onFrame = onFrame;
    this.failures = 0;
    this.ended = new AbortController();
    const { signal } = this.ended;
    addEventListener("online", () => this.#hurry(), { signal });
    addEventListener("offline", () => this.#socketClosed(this.socket, 0), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry(), { signal });
    this.#open();
  }

  /** Send a frame; false when there is no open socket, and then nothing was sent. */
  send(frame) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** End it for good. */
  close() {
    this.ended.abort();
    clearInterval(this.countdown);
    clearTimeout(this.proof);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  #open() {
    clearInterval(this.countdown);
    this.countdown = null;
    this.onState({ name: "connecting" });
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onopen = () => {
      if (socket !== this.socket) return;
      this.proof = setTimeout(() => (this.failures = 0), STABLE);
      this.onState({ name: "open" });
    };
    socket.onmessage = ({ data }) => socket === this.socket && this.onFrame(JSON.parse(data));
    socket.onclose = ({ code }) => this.#socketClosed(socket, code);
  }

  #socketClosed(socket, code) {
    // A socket that was given up closes late, sometimes after its successor has opened.
    if (!socket || socket !== this.socket) return;
    this.socket = null;
    socket.close();
    clearTimeout(this.proof);
    if (REFUSALS.has(code)) this.onState({ name: "refused", code });
    else this.#wait();
  }

  #wait() {
    const delay = Math.min(2 ** this.failures++, LONGEST_DELAY);
    // Jitter: after a restart of the server not everybody comes back in the same moment.
    let seconds = Math.ceil(delay * (0.5 + Math.random() / 2));
    const tick = () => {
      if (seconds <= 0) this.#open();
      else this.onState({ name: "waiting", seconds: seconds-- });
    };
    this.countdown = setInterval(tick, 1000);
    tick();
  }

  #hurry() {
    if (this.countdown) this.#open();
  }
}
