/** A list of the page for the account. Its items can be taken away after a question. */

import { t } from "../language.js";
import { button, element } from "../render.js";

export class Rows {
  /** `make(item)` returns the nodes of an item. `heading` gets the focus when an item with the focus is gone. */
  constructor(name, make, heading = null) {
    this.list = document.getElementById(name);
    this.emptyNote = document.getElementById(`no-${name}`);
    Object.assign(this, { make, heading });
  }

  show(items) {
    const hadFocus = this.list.contains(document.activeElement);
    this.list.replaceChildren(...items.map((item) => element("li", {}, ...this.make(item))));
    this.emptyNote.hidden = items.length > 0;
    if (hadFocus) this.heading?.focus();
  }
}

/** Return a button that asks before it acts. `name` says to screen readers which item it is for. */
export function riskyButton(label, question, name, action) {
  const place = element("span", { class: "risky" });
  const ask = button(label, "quiet", () => {
    const sure = button(question, "danger", action);
    const cancel = button(t("Cancel"), "quiet", () => {
      place.replaceChildren(ask);
      ask.focus();
    });
    place.replaceChildren(sure, cancel);
    cancel.focus();
  });
  ask.setAttribute("aria-label", `${label}: ${name}`);
  place.append(ask);
  return place;
}

/** Return a line of small facts, without empty ones. */
export const facts = (...texts) => element("small", {}, texts.filter(Boolean).join(" · "));

/** Return a name that a user or a model has written. */
export const nameNode = (text, attributes = {}) => element("strong", { dir: "auto", ...attributes }, text);
