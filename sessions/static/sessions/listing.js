/**
 * The list of the user's sessions. The page receives events of open sessions only, so it also polls the list while the
 * page is visible.
 */

import { dayText, t, timeText, tn } from "./language.js";
import { element } from "./render.js";

// Events that change the list.
const LIST_EVENTS = new Set(["message_added", "message_withdrawn", "turn_completed", "session_changed", "session_deleted"]);
const POLL_INTERVAL_MS = 10_000;
// Events come in bursts; one request covers a burst.
const REFRESH_DELAY_MS = 300;
const STATUS_UNAUTHORIZED = 401;

export class SessionList {
  /** `current()` returns the key of the open session. `onNotSignedIn()`: the server does not know the user. */
  constructor(list, emptyNote, { current, onNotSignedIn }) {
    Object.assign(this, { list, emptyNote, current, onNotSignedIn });
    this.fingerprint = "";
    this.timer = null;
    setInterval(() => document.hidden || this.#schedule(), POLL_INTERVAL_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.#schedule());
  }

  handleEvent({ kind }) {
    if (LIST_EVENTS.has(kind)) this.#schedule();
  }

  #schedule() {
    this.timer ??= setTimeout(() => this.refresh(), REFRESH_DELAY_MS);
  }

  async refresh() {
    clearTimeout(this.timer);
    this.timer = null;
    const { status, body } = await getJson("/api/v1/sessions?limit=50");
    // The socket reports this too, but not while the server cannot look up the user.
    if (status === STATUS_UNAUTHORIZED) this.onNotSignedIn();
    if (status === 200) this.#show(body.sessions.filter((one) => one.message_count || one.id === this.current()));
  }

  #show(sessions) {
    const facts = sessions.map(({ id, title, message_count, last_activity }) => [id, title, message_count, last_activity]);
    const fingerprint = JSON.stringify([this.current(), facts]);
    if (fingerprint === this.fingerprint) return;
    this.fingerprint = fingerprint;
    // Keep the keyboard focus.
    const focusedHref = this.list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const items = sessions.map((session) => item(session, session.id === this.current()));
    this.list.replaceChildren(...items);
    if (focusedHref) [...this.list.querySelectorAll("a")].find((link) => link.getAttribute("href") === focusedHref)?.focus();
    this.emptyNote.hidden = sessions.length > 0;
  }
}

function item(session, isCurrent) {
  const when = new Date(session.last_activity);
  const isToday = when.toDateString() === new Date().toDateString();
  const time = isToday ? timeText(when) : dayText(when);
  const count = tn(session.message_count, "{count} message", "{count} messages");
  const name = element("span", { class: "name", dir: "auto" }, session.title || session.id);
  const link = element("a", { href: `#${encodeURIComponent(session.id)}` }, name, element("small", {}, `${count} · ${time}`));
  if (isCurrent) link.setAttribute("aria-current", "page");
  return element("li", {}, link);
}

async function getJson(path) {
  try {
    const response = await fetch(path, { headers: { Accept: "application/json" } });
    const isJson = response.headers.get("Content-Type")?.includes("json");
    return { status: response.status, body: isJson ? await response.json() : null };
  } catch {
    return { status: 0, body: null };
  }
}
