/** A server, and who talks to it: sessions, and the REST API beside them. */

import { Credentials } from "./credentials.js";
import { CodelabError } from "./errors.js";
import { Session } from "./session.js";

export class Client {
  /** `options` are those of Credentials, and `WebSocket`. */
  constructor(url, { WebSocket, ...options } = {}) {
    this.url = new URL(url).origin;
    this.WebSocket = WebSocket;
    this.credentials = new Credentials(this.url, options);
  }

  /** Return a session, connected. `options` are those of Session. */
  session(name, options = {}) {
    const { url, credentials, WebSocket } = this;
    return new Session(name, { url, credentials, WebSocket, ...options }).start();
  }

  /** Request the REST API below /api/v1. Rejects with a CodelabError. */
  async request(path, { method = "GET", body } = {}) {
    const token = await this.credentials.token();
    const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { "Content-Type": "application/json" }) };
    const response = await fetch(new URL(`/api/v1/${path}`, this.url), { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    throw new CodelabError(answer.error_code ?? `http_${response.status}`, answer.error ?? `HTTP ${response.status}`);
  }

  async sessions({ limit = 50 } = {}) {
    return (await this.request(`sessions?limit=${limit}`)).sessions;
  }

  history(name) {
    return this.request(`sessions/${encodeURIComponent(name)}/history`);
  }
}
