/** A tool that the model asks for: a form while it is open, a record of the result afterwards. */

import { button, element } from "./render.js";

let cards = 0;

export class ToolCard {
  constructor({ id, tool, args, approval = false }, answer) {
    this.id = id;
    this.answer = answer;
    this.state = element("span", { class: "badge" });
    this.title = element("h3", { class: "heading" }, "Tool ", element("code", {}, tool), this.state);
    this.rest = element("div", { class: "rest" });
    this.node = element("article", { class: "card tool" }, this.title, this.#arguments(args), this.rest);
    this.needsApproval = approval;
    this.reopen();
  }

  /** Only the frame knows whether the tool needs an approval; a card made from the history learns it later. */
  requireApproval(needed) {
    this.needsApproval = needed;
    if (this.isOpen) this.#label(needed ? "needs approval" : "waiting", needed ? "attention" : "");
  }

  reopen() {
    this.isOpen = true;
    this.requireApproval(this.needsApproval);
    this.field ??= element("textarea", { rows: "2", id: `result-${++cards}`, spellcheck: "false" });
    this.rest.replaceChildren(
      element("label", { for: this.field.id }, "Result, as JSON or as plain text"),
      this.field,
      element("div", { class: "buttons" },
        button("Send result", "primary", () => this.answer(this, resultFields(this.field.value))),
        button("Refuse", "quiet", () => this.answer(this, { error: "Refused by the user" })),
      ),
    );
  }

  finish(label, result, kind = "done") {
    this.isOpen = false;
    this.#label(label, kind);
    this.rest.replaceChildren(...(result ? [folded("Result", result)] : []));
  }

  /** Show the result that the service has stored, which is what the model was told. */
  settle(stored) {
    if (this.settled) return;
    this.settled = true;
    const failed = stored.startsWith("Error: ");
    this.finish(failed ? "failed" : "result sent", prettyText(stored), failed ? "failed" : "done");
  }

  /** Nobody waits for a result any more. */
  close() {
    if (this.isOpen) this.finish("closed", null, "");
  }

  #label(text, kind) {
    this.state.textContent = text;
    this.state.className = `badge ${kind}`;
  }

  #arguments(args) {
    const text = pretty(args);
    return text.length > 600 ? folded("Arguments", text) : block("Arguments", text);
  }
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

export function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function prettyText(text) {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}
