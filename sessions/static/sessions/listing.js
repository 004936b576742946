/**
 * The list of the user's sessions beside the conversation. Nothing tells of sessions that this page does not follow, so
 * it also looks by itself, as long as somebody can see it.
 */

import { element } from "./render.js";

// Events that change what the list says.
const LISTED = new Set(["message_added", "message_withdrawn", "turn_completed", "session_changed", "session_deleted"]);
// Milliseconds: between two looks, and between an event and the look that it causes, because events come in swarms.
const LOOK = 10_000;
const SWARM = 300;
const UNAUTHORIZED = 401;

export class Listing {
  /** `current()` is the key of the session that is shown; `onNotSignedIn()` is told when the server knows nobody. */
  constructor(list, none, { current, onNotSignedIn }) {
    Object.assign(this, { list, none, current, onNotSignedIn });
    this.shown = "";
    this.planned = null;
    setInterval(() => document.hidden || this.#soon(), LOOK);
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon());
  }

  happened({ kind }) {
    if (LISTED.has(kind)) this.#soon();
  }

  #soon() {
    this.planned ??= setTimeout(() => this.look(), SWARM);
  }

  async look() {
    clearTimeout(this.planned);
    this.planned = null;
    const { status, body } = await get("/api/v1/sessions?limit=50");
    // The socket tells it too, but not while the server cannot look up who it is.
    if (status === UNAUTHORIZED) this.onNotSignedIn();
    if (status === 200) this.#show(body.sessions.filter((one) => one.message_count || one.id === this.current()));
  }

  #show(sessions) {
    const facts = sessions.map(({ id, title, message_count, last_activity }) => [id, title, message_count, last_activity]);
    const shown = JSON.stringify([this.current(), facts]);
    if (shown === this.shown) return;
    this.shown = shown;
    // Whoever walks through the list by keyboard stays where they are.
    const focused = this.list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const items = sessions.map((session) => item(session, session.id === this.current()));
    this.list.replaceChildren(...items);
    if (focused) [...this.list.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    this.none.hidden = sessions.length > 0;
  }
}

function item(session, isCurrent) {
  const when = new Date(session.last_activity);
  const isToday = when.toDateString() === new Date().toDateString();
  const shown = isToday ? when.toLocaleTimeString([], { timeStyle: "short" }) : when.toLocaleDateString();
  const count = session.message_count === 1 ? "1 message" : `${session.message_count} messages`;
  const name = element("span", { class: "name", dir: "auto" }, session.title || session.id);
  const link = element("a", { href: `#${encodeURIComponent(session.id)}` }, name, element("small", {}, `${count} · ${shown}`));
  if (isCurrent) link.setAttribute("aria-current", "page");
  return element("li", {}, link);
}

async function get(path) {
  try {
    const response = await fetch(path, { headers: { Accept: "application/json" } });
    const isJson = response.headers.get("Content-Type")?.includes("json");
    return { status: response.status, body: isJson ? await response.json() : null };
  } catch {
    return { status: 0, body: null };
  }
}
