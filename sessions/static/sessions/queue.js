/** Messages that are not in the conversation yet: those that wait for their turn, and those that are not sent. */

import { onKeys } from "./keys.js";
import { t } from "./language.js";
import { button, element, imageStrip } from "./render.js";

/** A message that waits for its turn, or to be read by the open one. The user can edit it, withdraw it, or hurry it. */
export class WaitingMessage {
  /** `actions`: edit(id, text), withdraw(id), hurry(id, when), and keepEdit(text) for an edit that comes too late. */
  constructor({ id, images }, session, actions) {
    Object.assign(this, { id, actions });
    this.body = element("div", { class: "body", dir: "auto" });
    this.note = element("p", { class: "remark" });
    this.editButton = button(t("Edit"), "link", () => this.#edit());
    this.steerButton = button(t("Steer"), "link", () => actions.hurry(id, "steer"));
    this.steerButton.title = t("The current answer reads it at its next step");
    const now = button(t("Answer now"), "link", () => actions.hurry(id, "interrupt"));
    now.title = t("Stops the current answer");
    this.buttons = element(
      "div",
      { class: "buttons" },
      this.editButton,
      button(t("Withdraw"), "link", () => actions.withdraw(id)),
      this.steerButton,
      now,
    );
    this.node = element("li", {}, this.body, imageStrip(session, images), this.note, this.buttons);
  }

  update({ text, note, canSteer, isFixed }) {
    this.steerButton.hidden = !canSteer;
    if (text !== this.text) this.body.textContent = this.text = text;
    this.note.textContent = note;
    this.note.hidden = !note;
    this.buttons.hidden = isFixed || Boolean(this.form);
    if (isFixed) this.leave();
  }

  leave() {
    if (this.form && this.field.value !== this.text) this.actions.keepEdit(this.field.value);
    this.#close();
  }

  #edit() {
    this.field = element("textarea", { rows: Math.min(this.text.split("\n").length + 1, 8), "aria-label": t("Waiting message") });
    this.field.value = this.text;
    onKeys(this.field, { enter: () => this.#save(), escape: () => this.#close(true) });
    const buttons = [
      button(t("Save"), "primary", () => this.#save()),
      button(t("Cancel"), "quiet", () => this.#close(true)),
    ];
    this.form = element("div", { class: "rest" }, this.field, element("div", { class: "buttons" }, ...buttons));
    this.body.hidden = this.buttons.hidden = true;
    this.node.append(this.form);
    this.field.focus();
  }

  #save() {
    const text = this.field.value;
    if (!text.trim()) return;
    this.#close(true);
    if (text !== this.text) this.actions.edit(this.id, text);
  }

  #close(focus = false) {
    this.form?.remove();
    this.form = null;
    this.body.hidden = false;
    if (!focus) return;
    this.buttons.hidden = false;
    this.editButton.focus();
  }
}

/** A message that the server has not acknowledged or has rejected. */
export class UnsentMessage {
  /** `actions`: discard(id), reopen(id, text, images). */
  constructor({ id, text, images }, session, actions) {
    const body = element("div", { class: "body", dir: "auto" }, text);
    this.note = element("p", { class: "remark" });
    this.buttons = element(
      "div",
      { class: "buttons" },
      button(t("Edit"), "link", () => actions.reopen(id, text, images)),
      button(t("Discard"), "link", () => actions.discard(id)),
    );
    this.node = element("li", {}, body, imageStrip(session, images), this.note, this.buttons);
  }

  update({ note, canDiscard }) {
    if (this.note.textContent !== note) this.note.textContent = note;
    this.note.hidden = !note;
    this.buttons.hidden = !canDiscard;
  }
}
