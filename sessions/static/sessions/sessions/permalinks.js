/** Links to a message, and the messages before those that a snapshot has: a link may lead to one of them. */

import { t } from "../language.js";
import { List } from "../render.js";
import { olderItems } from "./older.js";
import { getHistory, problemText } from "./requests.js";

const PAGE_MESSAGES = 200;
// The events of a session come in pieces. A message that has not come by then is not in it.
const PATIENCE_MS = 6000;

const find = (id) => document.getElementById(id);
const nodeOf = (message) => find(`message-${message}`);

export class Permalinks {
  #pending = null; // the message that a link leads to, until it is shown
  #timer = null;
  #isLoading = false;
  #messages = []; // older ones, oldest first
  #isWhole = false;
  #log;

  /** `session()` returns the open session, `view(item)` a view; `onFound()` is called before the page scrolls to a message. */
  constructor({ session, view, onFound, onNotice }) {
    Object.assign(this, { session, onFound, onNotice });
    this.#log = new List(find("older-log"), view);
    find("show-older").addEventListener("click", () => this.#loadOlder());
  }

  /** Another session is open. */
  clear() {
    clearTimeout(this.#timer);
    this.#pending = null;
    this.#messages = [];
    this.#isWhole = false;
    this.#log.clear();
  }

  /** Show a message of the open session, as soon as it is there. */
  open(message) {
    this.#pending = message;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp(), PATIENCE_MS);
    this.draw();
  }

  /** Follow a change of the session. */
  draw() {
    const hasOlder = this.session().state.olderMessages && !this.#isWhole;
    find("older").hidden = !hasOlder;
    if (!this.#pending) return;
    if (nodeOf(this.#pending)) this.#show(nodeOf(this.#pending));
    else if (hasOlder) this.#loadOlder();
  }

  #show(node) {
    clearTimeout(this.#timer);
    this.#pending = null;
    this.onFound();
    document.querySelector(".linked")?.classList.remove("linked");
    node.classList.add("linked");
    node.tabIndex = -1;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "center" });
  }

  #giveUp() {
    if (this.#isLoading) return;
    this.#pending = null;
    this.onNotice(t("The message of this link is not in this session."));
  }

  async #loadOlder() {
    const { key, state } = this.session();
    const oldest = this.#messages[0]?.id ?? state.messages[0]?.message_id;
    if (this.#isLoading || !oldest) return;
    this.#isLoading = true;
    const { status, body } = await getHistory(key, { before: oldest, limit: PAGE_MESSAGES });
    this.#isLoading = false;
    if (key !== this.session().key) return;
    if (status !== 200) {
      this.#pending = null;
      this.onNotice(problemText(body, t("Older messages could not be loaded. Try again.")));
      return;
    }
    const shown = new Set(state.messages.map((one) => one.message_id));
    this.#messages = [...body.messages.filter((one) => !shown.has(one.id)), ...this.#messages];
    this.#isWhole = !body.has_more;
    this.#keepPlace(() => this.#log.show(olderItems(this.#messages)));
    this.draw();
  }

  /** What the user reads stays where it is. */
  #keepPlace(change) {
    const scroller = find("scroller");
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    change();
    scroller.scrollTop = scroller.scrollHeight - fromEnd;
  }
}
