/** Nodes of the conversation. Text from people and models only ever becomes text nodes. */

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/**
 * Children of a node, one for each item, in their order. `make(item)` returns a view with a `node`, `update(item)` and
 * perhaps `leave()`; it stays as long as there is an item with its key, so that what somebody is reading or writing
 * stays, too.
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

  show(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, view] of this.views) {
      if (keys.has(key)) continue;
      view.leave?.();
      view.node.remove();
      this.views.delete(key);
    }
    let place = this.node.firstChild;
    for (const item of items) {
      const view = this.views.get(item.key) ?? this.#add(item);
      view.update(item);
      if (view.node === place) place = place.nextSibling;
      else this.node.insertBefore(view.node, place);
    }
  }

  #add(item) {
    const view = this.make(item);
    this.views.set(item.key, view);
    return view;
  }
}

/** A message: an article with a heading line, what the model thought, a body and perhaps a remark. */
export class Message {
  constructor({ role, label, time, images = [] }, session) {
    this.body = element("div", { class: "body", dir: "auto" });
    this.heading = heading(label, time);
    this.node = element("article", { class: `message ${role}` }, this.heading, this.body, strip(session, images));
  }

  update({ label, text, reasoning = "", busy = false, remark = "" }) {
    // Whose work it is a part of is known when it is complete.
    if (this.heading.firstChild.data !== label) this.heading.firstChild.data = label;
    if (reasoning !== (this.reasoning ?? "")) this.#think(reasoning);
    // Open while there is nothing else to read; whoever opens or closes it is not contradicted.
    if (this.thoughts && !this.text && text) this.thoughts.open = false;
    if (text !== this.text || busy !== this.busy) this.#say(text, busy);
    if (remark !== (this.remark ?? "")) this.#remark(remark);
  }

  #say(text, busy) {
    // Read out when it is complete, not word by word; and code is set apart then.
    if (busy) this.node.setAttribute("aria-busy", "true");
    else this.node.removeAttribute("aria-busy");
    if (!busy) showText(this.body, text);
    else if (this.busy && text.startsWith(this.text)) this.body.firstChild.appendData(text.slice(this.text.length));
    else this.body.replaceChildren(document.createTextNode(text));
    Object.assign(this, { text, busy });
  }

  #think(reasoning) {
    if (!this.thoughts) {
      const text = element("div", { class: "thoughts", dir: "auto" });
      this.thoughts = element("details", { class: "reasoning" }, element("summary", {}, "Thoughts"), text);
      this.thoughts.open = !this.text;
      this.body.before(this.thoughts);
    }
    this.thoughts.lastChild.textContent = reasoning;
    this.reasoning = reasoning;
  }

  #remark(remark) {
    this.line?.remove();
    this.line = remark && new Remark({ text: remark }).node;
    if (remark) this.node.append(this.line);
    this.remark = remark;
  }
}

export const pictureAddress = (key, id = "") => `/api/v1/sessions/${encodeURIComponent(key)}/images${id && `/${id}`}`;

/** Pictures of a session, small, each a link to the whole of it; nothing where there are none. */
export function strip(key, ids) {
  if (!ids.length) return "";
  const links = ids.map((id, place) => {
    const src = pictureAddress(key, id);
    return element("a", { href: src, target: "_blank", rel: "noopener" }, element("img", { src, alt: `Image ${place + 1}` }));
  });
  return element("div", { class: "pictures" }, ...links);
}

/** A line about what became of a message or of its answer. */
export class Remark {
  constructor({ text }) {
    this.node = element("p", { class: "remark" }, text);
  }

  update() {}
}

export class ErrorCard {
  constructor({ text, code }) {
    this.node = element(
      "article",
      { class: "card error" },
      element("h3", { class: "heading" }, "This did not work"),
      element("p", { class: "body", dir: "auto" }, text),
      element("p", { class: "code" }, code),
    );
  }

  update() {}
}

/** Show a whole text, code between ``` fences as blocks. */
function showText(body, text) {
  body.replaceChildren(...blocks(text).map(({ code, language, text: part }) => (code ? codeBlock(language, part) : part)));
}

function blocks(text) {
  const found = [{ code: false, lines: [] }];
  for (const line of text.split("\n")) {
    const last = found.at(-1);
    const fence = last.code ? /^\s*```\s*$/.test(line) : /^\s*```[^`]*$/.test(line);
    if (fence) found.push({ code: !last.code, language: line.trim().slice(3), lines: [] });
    else last.lines.push(line);
  }
  return found
    .map(({ lines, ...rest }) => ({ ...rest, text: lines.join("\n") }))
    .filter(({ code, text }) => code || text.trim() || found.length === 1);
}

function codeBlock(language, text) {
  const label = language ? `Code: ${language}` : "Code";
  return element("pre", { dir: "ltr", tabindex: "0", "aria-label": label }, element("code", {}, text));
}

function heading(label, milliseconds) {
  const line = element("h3", { class: "heading" }, label);
  if (milliseconds) {
    const date = new Date(milliseconds);
    const time = element("time", { datetime: date.toISOString(), title: date.toLocaleString() });
    time.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    line.append(time);
  }
  return line;
}

export function button(label, kind, action) {
  const node = element("button", { type: "button", class: kind }, label);
  node.addEventListener("click", action);
  return node;
}
