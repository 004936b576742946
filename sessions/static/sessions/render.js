/** Nodes of the conversation. Text from people and models only ever becomes text nodes. */

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A message: an article with a heading line and a body. */
export function message(role, label, text = "", createdAt = new Date()) {
  const body = element("div", { class: "body", dir: "auto" });
  showText(body, text);
  return element("article", { class: `message ${role}` }, heading(label, createdAt), body);
}

export function bodyOf(node) {
  return node.querySelector(".body");
}

/** Show a whole text, code between ``` fences as blocks. */
export function showText(body, text) {
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

function heading(label, createdAt) {
  const date = new Date(createdAt);
  const time = element("time", { datetime: date.toISOString(), title: date.toLocaleString() });
  time.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return element("h3", { class: "heading" }, label, time);
}

export function errorCard(text, code) {
  return element(
    "article",
    { class: "card error" },
    element("h3", { class: "heading" }, "This did not work"),
    element("p", { class: "body", dir: "auto" }, text),
    element("p", { class: "code" }, code),
  );
}

/** A line under a message, with a button when there is something to do about it. */
export function remark(text, label, action) {
  const line = element("p", { class: "remark" }, text);
  if (action) line.append(" ", button(label, "quiet", action));
  return line;
}

export function button(label, kind, action) {
  const node = element("button", { type: "button", class: kind }, label);
  node.addEventListener("click", action);
  return node;
}
