/** A tool call of the model: a form until it has a result, then the result. */

import { t } from "./language.js";
import { button, element, Remark } from "./render.js";

const BADGES = {
  waiting: [t("waiting"), ""],
  approval: [t("needs approval"), "attention"],
  sending: [t("sending…"), ""],
  done: [t("done"), "done"],
  failed: [t("failed"), "failed"],
  rejected: [t("rejected"), "failed"],
  closed: [t("closed"), ""],
};
const DISPLAY_TEXT = t("Marks in ⟨ ⟩ stand for characters that cannot be seen or look like others, and for long gaps.");
const ABOUT_TEXT = t("Your client defines this tool and says of it:");
const EDITED_TEXT = t("A person edited these arguments.");
let formCount = 0;

export class ToolCard {
  /** `answer(fields)` sends the result of the tool, or an error. */
  constructor({ tool }, answer) {
    this.answer = answer;
    this.about = "";
    this.arguments = element("div");
    this.badge = element("span", { class: "badge" });
    this.rest = element("div", { class: "rest" });
    const title = element("h2", { class: "heading" }, t("Tool"), " ", element("code", {}, tool), this.badge);
    this.node = element("article", { class: "card tool" }, title, this.arguments, this.rest);
  }

  update({ status, approval, result, args, isChanged, edited, about }) {
    // The request that has it comes behind the message, and is gone once there is a result.
    const said = about || this.about;
    if (args !== this.args || said !== this.about) {
      this.about = said;
      this.#setArguments(args, [said && `${ABOUT_TEXT} ${said}`, isChanged && DISPLAY_TEXT, edited && EDITED_TEXT].filter(Boolean));
    }
    const [label, kind] = BADGES[status === "waiting" && approval ? "approval" : status];
    if (this.badge.textContent !== label) this.badge.textContent = label;
    this.badge.className = `badge ${kind}`;
    if (status === this.status) return;
    this.status = status;
    if (status === "waiting") this.rest.replaceChildren(...(this.form ??= this.#form()));
    else this.rest.replaceChildren(...(result ? [foldable(t("Result"), prettyText(result))] : []));
  }

  #setArguments(args, remarks) {
    this.args = args;
    this.arguments.replaceChildren(argumentsNode(args), ...remarks.map((text) => new Remark({ text }).node));
  }

  #form() {
    const field = element("textarea", { rows: "2", id: `result-${++formCount}`, spellcheck: "false" });
    return [
      element("label", { for: field.id }, t("Result (JSON or plain text)")),
      field,
      element(
        "div",
        { class: "buttons" },
        button(t("Send result"), "primary", () => this.answer(resultFields(field.value))),
        button(t("Reject"), "quiet", () => this.answer({ error: "Refused by the user" })),
      ),
    ];
  }
}

function argumentsNode(args) {
  const text = pretty(args);
  return text.length > 600 ? foldable(t("Arguments"), text) : block(t("Arguments"), text);
}

function block(label, text) {
  return element("pre", { dir: "ltr", tabindex: "0", "aria-label": label }, text);
}

function foldable(label, text) {
  const details = element("details", {}, element("summary", {}, label), block(label, text));
  details.open = text.length <= 300;
  return details;
}

function resultFields(text) {
  try {
    const result = JSON.parse(text);
    // The service reads null as "no result"; a user who types it means the word.
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
