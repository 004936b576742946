/** The title of the tab: the open session's. In the background it counts the answers that came meanwhile, too. */

import { attention } from "../approvals/attention.js";
import { t } from "../language.js";
import { firstLine } from "./pages.js";

const MAX_LENGTH = 60;
const ENDS = new Set(["turn_completed", "turn_failed"]);

export class OpenTitle {
  #titles = new Map(); // by session, as events say them
  #answers = 0;

  /** `session()` returns the open session, `listed(key)` the title that the list has of one. */
  constructor({ session, listed }) {
    Object.assign(this, { session, listed });
    document.addEventListener("visibilitychange", () => document.hidden || this.#count(0));
  }

  /** Take an event of any session that is connected. */
  handleEvent(key, { kind, payload }) {
    const title = kind === "snapshot" ? payload.session.title : kind === "session_changed" && payload.title;
    if (title) this.#titles.set(key, title);
    if (document.hidden && ENDS.has(kind)) this.#count(this.#answers + 1);
    if (title || kind === "message_added") this.show();
  }

  show() {
    const { key, state } = this.session();
    const first = state.messages.find((one) => one.role === "user");
    const title = this.#titles.get(key) || this.listed(key) || (first ? first.content : t("New session"));
    attention.setTitle(`${firstLine(title, MAX_LENGTH)} · CodeLab`);
  }

  #count(answers) {
    this.#answers = answers;
    attention.set("answers", answers, { text: t("An answer is ready") });
  }
}
