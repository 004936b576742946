/** A tool that the model asks for: a form while it waits for its result, a record of the result afterwards. */

import { button, element } from "./render.js";

const BADGES = {
  waiting: ["waiting", ""],
  approval: ["needs approval", "attention"],
  sending: ["sending…", ""],
  done: ["result sent", "done"],
  failed: ["failed", "failed"],
  refused: ["refused", "failed"],
  closed: ["closed", ""],
};
let forms = 0;

export class ToolCard {
  /** `answer(fields)` sends the result of the tool, or why there is none. */
  constructor({ tool, args }, answer) {
    this.answer = answer;
    this.badge = element("span", { class: "badge" });
    this.rest = element("div", { class: "rest" });
    const title = element("h3", { class: "heading" }, "Tool ", element("code", {}, tool), this.badge);
    this.node = element("article", { class: "card tool" }, title, shownArguments(args), this.rest);
  }

  update({ status, approval, result }) {
    const [label, kind] = BADGES[status === "waiting" && approval ? "approval" : status];
    if (this.badge.textContent !== label) this.badge.textContent = label;
    this.badge.className = `badge ${kind}`;
    if (status === this.status) return;
    this.status = status;
    if (status === "waiting") this.rest.replaceChildren(...(this.form ??= this.#form()));
    else this.rest.replaceChildren(...(result ? [folded("Result", prettyText(result))] : []));
  }

  #form() {
    const field = element("textarea", { rows: "2", id: `result-${++forms}`, spellcheck: "false" });
    return [
      element("label", { for: field.id }, "Result, as JSON or as plain text"),
      field,
      element(
        "div",
        { class: "buttons" },
        button("Send result", "primary", () => this.answer(resultFields(field.value))),
        button("Refuse", "quiet", () => this.answer({ error: "Refused by the user" })),
      ),
    ];
  }
}

function shownArguments(args) {
  const text = pretty(args);
  return text.length > 600 ? folded("Arguments", text) : block("Arguments", text);
}

function block(label, text) {
  return element("pre", { dir: "ltr", tabindex: "0", "aria-label": label }, text);
}

function folded(label, text) {
  const details = element("details", {}, element("summary", {}, label), block(label, text));
  details.open = text.length <= 300;
  return details;
}

function resultFields(text) {
  try {
    const result = JSON.parse(text);
    // The service takes null for "no result"; a person who types it means the word.
    return { result: result ?? { output: text } };
  } catch {
    return { result: { output: text } };
  }
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function prettyText(text) {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}
