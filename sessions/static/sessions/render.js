/** Nodes of the conversation. Text of users and models only becomes text nodes, never HTML. */

import { element } from "./elements.js";
import { dateText, t, timeText, tn } from "./language.js";
import { MarkdownBody } from "./markdown/body.js";
import { addressOf } from "./sessions/address.js";

export { button, element } from "./elements.js";

/**
 * Children of a node, one per item, in order. `make(item)` returns a view with a `node`, `update(item)` and perhaps
 * `leave()`. A view stays as long as an item has its key, so that selections and half-written forms survive.
 */
export class List {
  constructor(node, make) {
    Object.assign(this, { node, make });
    this.clear();
  }

  clear() {
    this.views = new Map();
    this.node.replaceChildren();
  }

  /**
   * Show these items. Makes `maxNew` views at most, the last ones first, so that a long list does not hold up the page.
   * Returns whether all items are shown.
   */
  show(items, { maxNew = Infinity } = {}) {
    const missing = items.filter((item) => !this.views.has(item.key));
    const later = new Set(missing.slice(0, Math.max(0, missing.length - maxNew)));
    const keys = new Set(items.map((item) => item.key));
    for (const [key, view] of this.views) {
      if (keys.has(key)) continue;
      view.leave?.();
      view.node.remove();
      this.views.delete(key);
    }
    let next = this.node.firstChild;
    for (const item of items) {
      if (later.has(item)) continue;
      const view = this.views.get(item.key) ?? this.#add(item);
      view.update(item);
      if (view.node === next) next = next.nextSibling;
      else this.node.insertBefore(view.node, next);
    }
    return !later.size;
  }

  #add(item) {
    const view = this.make(item);
    this.views.set(item.key, view);
    return view;
  }
}

/** A message: an article with a heading, perhaps the reasoning, a body and perhaps a remark. */
export class Message {
  constructor({ key, role, label, time, images = [] }, session) {
    this.view = role === "assistant" ? new MarkdownBody() : new PlainBody();
    this.body = this.view.node;
    this.heading = heading(label, time, time && addressOf(session, key));
    this.node = element("article", { class: `message ${role}`, id: `message-${key}` }, this.heading, this.body, imageStrip(session, images));
  }

  update({ label, text, reasoning = "", busy = false, remark = "" }) {
    // The sub-task is known when the message is complete.
    if (this.heading.firstChild.data !== label) this.heading.firstChild.data = label;
    if (reasoning !== (this.reasoning ?? "")) this.#setReasoning(reasoning);
    // Open while there is nothing else to read. Later only the user opens or closes it.
    if (this.details && !this.text && text) this.details.open = false;
    if (text !== this.text || busy !== this.busy) this.#setText(text, busy);
    if (remark !== (this.remark ?? "")) this.#setRemark(remark);
  }

  #setText(text, busy) {
    Object.assign(this, { text, busy });
    const ending = this.view.update({ text, busy });
    if (busy) this.node.setAttribute("aria-busy", "true");
    // Screen readers read it when it is complete, not word by word, and not once more with its blocks.
    else if (ending) ending.then(() => this.busy || this.node.removeAttribute("aria-busy"));
    else this.node.removeAttribute("aria-busy");
  }

  #setReasoning(reasoning) {
    if (!this.details) {
      const text = element("div", { class: "thoughts", dir: "auto" });
      this.details = element("details", { class: "reasoning" }, element("summary", {}, t("Reasoning")), text);
      this.details.open = !this.text;
      this.body.before(this.details);
    }
    this.details.lastChild.textContent = reasoning;
    this.reasoning = reasoning;
  }

  #setRemark(remark) {
    this.line?.remove();
    this.line = remark && new Remark({ text: remark }).node;
    if (remark) this.node.append(this.line);
    this.remark = remark;
  }
}

/** The body of a message that is shown as it was written. */
class PlainBody {
  constructor() {
    this.node = element("div", { class: "body", dir: "auto" });
  }

  update({ text }) {
    if (this.node.textContent !== text) this.node.textContent = text;
  }
}

export const imageUrl = (key, id = "") => `/api/v1/sessions/${encodeURIComponent(key)}/images${id && `/${id}`}`;

/** Return small images of a session, each a link to the full image; an empty string if there are none. */
export function imageStrip(key, ids) {
  if (!ids.length) return "";
  const links = ids.map((id, index) => {
    const src = imageUrl(key, id);
    return element("a", { href: src, target: "_blank", rel: "noopener" }, element("img", { src, alt: t("Image {number}", { number: index + 1 }) }));
  });
  return element("div", { class: "images" }, ...links);
}

/** A line about the outcome of a message or an answer. */
export class Remark {
  constructor({ text }) {
    this.node = element("p", { class: "remark" }, text);
  }

  update() {}
}

/** A summary that the model reads instead of the messages above it. */
export class Summary {
  constructor({ text, messages }) {
    const title = tn(
      messages,
      "From here on the model reads a summary of the {count} message above.",
      "From here on the model reads a summary of the {count} messages above.",
    );
    this.node = element("details", { class: "remark" }, element("summary", {}, title), element("p", { dir: "auto" }, text));
  }

  update() {}
}

function heading(label, milliseconds, address) {
  const line = element("h2", { class: "heading" }, label);
  if (milliseconds) {
    const date = new Date(milliseconds);
    const time = element("time", { datetime: date.toISOString(), title: dateText(date) });
    time.textContent = timeText(date);
    line.append(address ? element("a", { class: "permalink", href: address, title: t("Link to this message") }, time) : time);
  }
  return line;
}
