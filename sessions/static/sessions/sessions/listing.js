/**
 * The list of the user's sessions, a page at a time, and the search in it. The page receives events of open sessions
 * only, so it also polls the first page of the list while it is visible.
 */

import { t, tn } from "../language.js";
import { drafts } from "../memory.js";
import { List } from "../render.js";
import { Entry } from "./entry.js";
import { EMPTY, isStale, itemsOf, MAX_SIZE, PAGE_SIZE, withFirstPage, withNextPage } from "./pages.js";
import { ask } from "./question.js";
import { changeSession, deleteSession, getSessions, problemText } from "./requests.js";

// Events that change the list.
const LIST_EVENTS = new Set(["message_added", "message_withdrawn", "turn_completed", "session_changed", "session_deleted"]);
const POLL_INTERVAL_MS = 10_000;
// Events come in bursts, and so do keys; one request covers a burst.
const REFRESH_DELAY_MS = 300;
const STATUS_UNAUTHORIZED = 401;

const find = (id) => document.getElementById(id);

export class SessionList {
  #pages = EMPTY;
  #query = "";
  #asked = 0; // requests of the first page so far: an older answer than the newest is dropped
  #timer = null;
  #isLoading = false;
  #rows;

  /**
   * `current()` returns the key of the open session. `onNotSignedIn()`: the server does not know the user. `onDeleted(key)`:
   * the user has deleted a session. `onNotice(text)` reports failures, `onChange()` follows each change.
   */
  constructor({ current, onNotSignedIn, onDeleted, onNotice, onChange }) {
    Object.assign(this, { current, onNotSignedIn, onDeleted, onNotice, onChange });
    const actions = {
      rename: (id, title) => this.#change(id, { title }),
      pin: (id, pinned) => this.#change(id, { pinned }),
      delete: (id, title) => this.#delete(id, title),
    };
    this.#rows = new List(find("session-list"), (item) => new Entry(item, actions));
    setInterval(() => document.hidden || this.#schedule(), POLL_INTERVAL_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.#schedule());
    find("session-search").addEventListener("input", ({ target }) => {
      this.#query = target.value.trim();
      this.#schedule();
    });
    find("more-sessions").addEventListener("click", () => this.#loadMore());
    const end = new IntersectionObserver(([entry]) => entry.isIntersecting && this.#loadMore(), { rootMargin: "400px" });
    end.observe(find("more-sessions"));
  }

  handleEvent({ kind }) {
    if (LIST_EVENTS.has(kind)) this.#schedule();
  }

  /** Return the title of a session, an empty one if the list does not know it. */
  titleOf(key) {
    return this.#pages.sessions.find((one) => one.id === key)?.title ?? "";
  }

  #schedule() {
    this.#timer ??= setTimeout(() => this.refresh(), REFRESH_DELAY_MS);
  }

  async refresh() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.show();
    const number = ++this.#asked;
    const query = this.#query;
    const isOther = query !== this.query;
    let { status, body } = await getSessions({ query, limit: PAGE_SIZE, offset: 0 });
    if (status === 200 && !isOther && isStale(this.#pages, body)) {
      const limit = Math.min(this.#pages.sessions.length, MAX_SIZE);
      ({ status, body } = await getSessions({ query, limit, offset: 0 }));
      if (status === 200) this.#pages = EMPTY;
    }
    if (number !== this.#asked) return;
    // The socket reports this too, but not while the server cannot look up the user.
    if (status === STATUS_UNAUTHORIZED) this.onNotSignedIn();
    this.#showOutcome(query, status, body);
    if (status !== 200) return;
    this.#pages = withFirstPage(isOther ? EMPTY : this.#pages, body);
    this.query = query;
    this.show();
  }

  async #loadMore() {
    const { sessions, total } = this.#pages;
    if (this.#isLoading || sessions.length >= total) return;
    this.#isLoading = true;
    const { query } = this;
    const { status, body } = await getSessions({ query, limit: PAGE_SIZE, offset: sessions.length });
    this.#isLoading = false;
    if (status !== 200 || query !== this.query) return;
    this.#pages = withNextPage(this.#pages, body);
    // What is on the page already says that the list has changed.
    if (!body.sessions.length) this.#pages = { ...this.#pages, total: this.#pages.sessions.length };
    this.show();
  }

  /** Draw the list again: a draft or the open session has changed. */
  show() {
    const items = itemsOf(this.#pages, { current: this.current(), drafts: drafts(), query: this.query });
    // Keep the keyboard focus: a node that is moved loses it.
    const focused = document.activeElement;
    this.#rows.show(items);
    if (focused !== document.activeElement && focused.isConnected) focused.focus();
    const more = find("more-sessions");
    more.hidden = this.#pages.sessions.length >= this.#pages.total;
    find("no-sessions").hidden = items.length > 0 || Boolean(this.query);
    this.onChange();
  }

  #showOutcome(query, status, body) {
    const note = find("search-outcome");
    const text = !query
      ? ""
      : body?.error_code === "search_timed_out"
        ? t("The search took too long. Use more words, or longer ones.")
        : status !== 200
          ? t("The search failed. Try again.")
          : body.total
            ? tn(body.total, "{count} session found", "{count} sessions found")
            : t("Nothing found.");
    if (note.textContent !== text) note.textContent = text;
  }

  async #change(id, change) {
    const { status, body } = await changeSession(id, change);
    if (status !== 200) this.onNotice(problemText(body, t("Not changed. Try again.")));
    this.refresh();
  }

  async #delete(id, title) {
    const isSure = await ask({
      title: t("Delete “{title}”?", { title }),
      text: t("All of its messages, and the files that only it has in this browser, are deleted. This cannot be undone."),
      yes: t("Delete"),
    });
    if (!isSure) return;
    const { status, body } = await deleteSession(id);
    if (status === 200) {
      const { sessions, total } = this.#pages;
      this.#pages = { sessions: sessions.filter((one) => one.id !== id), total: total - 1 };
      this.onDeleted(id);
    } else if (status !== 404) this.onNotice(problemText(body, t("Not deleted. Try again.")));
    this.refresh();
  }
}
