/** One session in the list: a link, and what can be done with the session. */

import { onKeys } from "../keys.js";
import { dayText, t, timeText, tn } from "../language.js";
import { button, element } from "../render.js";
import { addressOf } from "./address.js";
import { exportUrl } from "./requests.js";

const MAX_TITLE_LENGTH = 200;
let count = 0; // of entries, for ids

export class Entry {
  /** `actions`: rename(id, title), pin(id, isPinned), delete(id, title). */
  constructor({ id }, actions) {
    Object.assign(this, { id, actions, fingerprint: "" });
    this.name = element("span", { class: "name", dir: "auto" });
    this.found = element("span", { class: "found", dir: "auto" });
    this.facts = element("small");
    this.link = element("a", {}, this.name, this.found, this.facts);
    this.toggle = button("⋯", "quiet toggle", () => this.#open(!this.panel));
    this.toggle.setAttribute("aria-expanded", "false");
    this.toggle.setAttribute("aria-label", t("Session actions"));
    // Not in the name: a title may be as long as a message.
    this.name.id = `session-name-${++count}`;
    this.toggle.setAttribute("aria-describedby", this.name.id);
    this.node = element("li", {}, this.link, this.toggle);
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.panel) return;
      // Escape means this panel, and not the answer that runs.
      event.stopPropagation();
      this.#open(false);
    });
  }

  update(item) {
    const fingerprint = JSON.stringify(item);
    if (fingerprint === this.fingerprint) return;
    Object.assign(this, { fingerprint, item });
    const title = titleOf(item);
    this.name.textContent = title;
    this.found.textContent = item.found?.text ?? "";
    this.found.hidden = !item.found;
    this.facts.textContent = factsOf(item);
    this.link.href = addressOf(item.id, item.found?.message_id);
    if (item.isCurrent) this.link.setAttribute("aria-current", "page");
    else this.link.removeAttribute("aria-current");
    this.toggle.hidden = Boolean(item.isDraft);
    this.node.classList.toggle("pinned", Boolean(item.pinned));
    if (this.panel) this.pinButton.textContent = item.pinned ? t("Unpin") : t("Pin");
  }

  #open(isOpen) {
    if (isOpen === Boolean(this.panel)) return;
    this.toggle.setAttribute("aria-expanded", isOpen);
    this.panel?.remove();
    this.panel = isOpen ? this.#panel() : null;
    if (isOpen) this.node.append(this.panel);
    else this.toggle.focus();
  }

  #panel() {
    const { id, actions } = this;
    const download = (format, label) => element("a", { class: "chip", href: exportUrl(id, format), download: "" }, label);
    this.pinButton = button(this.item.pinned ? t("Unpin") : t("Pin"), "chip", () => actions.pin(id, !this.item.pinned));
    return element(
      "div",
      { class: "actions", role: "group", "aria-label": t("Session actions") },
      this.pinButton,
      button(t("Rename"), "chip", () => this.#rename()),
      download("markdown", t("Export as Markdown")),
      download("json", t("Export as JSON")),
      button(t("Delete"), "chip danger", () => actions.delete(id, titleOf(this.item))),
    );
  }

  #rename() {
    this.#open(false);
    const field = element("input", { type: "text", maxlength: MAX_TITLE_LENGTH, dir: "auto", "aria-label": t("Title") });
    field.value = this.item.title ?? "";
    const close = () => {
      field.replaceWith(this.link);
      this.toggle.hidden = false;
      this.link.focus();
    };
    onKeys(field, {
      enter: () => {
        const title = field.value.trim();
        close();
        if (title && title !== this.item.title) this.actions.rename(this.id, title);
      },
      escape: (event) => {
        event.stopPropagation();
        close();
      },
    });
    this.toggle.hidden = true;
    this.link.replaceWith(field);
    field.focus();
    field.select();
  }
}

function titleOf({ id, title }) {
  return title || id;
}

function factsOf({ isDraft, hasDraft, pinned, message_count, last_activity }) {
  if (isDraft) return t("Draft");
  const when = new Date(last_activity);
  const isToday = when.toDateString() === new Date().toDateString();
  const count = tn(message_count, "{count} message", "{count} messages");
  return [pinned && t("Pinned"), hasDraft && t("Draft"), count, isToday ? timeText(when) : dayText(when)].filter(Boolean).join(" · ");
}
