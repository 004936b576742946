/**
 * A tool call of the model: a card of one line that opens. While it waits for approval it is open, and has the choice; at
 * its end it has the change or the exit code, and the result.
 */

import { serverText, t } from "../language.js";
import { isSame } from "../elements.js";
import { button, element } from "../render.js";
import { callView, resultView } from "./calldetails.js";
import { subjectOf } from "./changes.js";
import { DecisionForm, textsOfCall } from "./decision.js";
import { developer } from "./developer.js";
import { countUnified, visibleText } from "./diff.js";

const BADGES = {
  waiting: () => [t("running…"), ""],
  approval: () => [t("needs approval"), "attention"],
  sending: () => [t("sending…"), ""],
  done: () => [t("done"), "done"],
  failed: () => [t("failed"), "failed"],
  rejected: () => [t("rejected"), "failed"],
  unknown: () => [t("unknown"), "failed"],
  closed: () => [t("closed"), ""],
};
const MAX_SUBJECT_CHARACTERS = 300; // the rest of a line is not seen
let formCount = 0;

export class ToolCard {
  #actions;
  #badge = element("span", { class: "badge" });
  #subject = element("span", { class: "subject", dir: "ltr" });
  #facts = element("span", { class: "facts" });
  #reason = element("p", { class: "reason" });
  #call = element("div", { class: "call" });
  #result = element("div", { class: "result" });
  #rest = element("div", { class: "rest" });
  #details;
  #kind = "";
  #isFilled = false;
  #form = null;
  #about = "";
  #item = {};

  /**
   * `actions`: decide(decision, fields), answer(fields) as the tool, choices(), makeRules(rules, isEverywhere), record() of
   * a finished call, preview(tool, args), and moveFocus() when the choice is gone.
   */
  constructor({ tool }, actions) {
    this.#actions = actions;
    const title = element("h2", { class: "heading" }, element("code", {}, ...visibleText(tool)), this.#subject, this.#facts, this.#badge);
    this.#details = element("details", { class: "line" }, element("summary", {}, title), this.#call, this.#result);
    this.#details.addEventListener("toggle", () => this.#details.open && this.#fill());
    this.node = element("article", { class: "card tool" }, this.#details, this.#reason, this.#rest);
  }

  update(item) {
    const before = this.#item;
    this.#item = item;
    // The request that has it comes behind the message, and is gone once there is a result.
    const about = item.about || this.#about;
    const isOther = !isSame(item.args, before.args) || !isSame(item.display, before.display) || about !== this.#about;
    if (isOther || item.outcome !== before.outcome || item.result !== before.result) {
      this.#about = about;
      this.#isFilled = false;
    }
    if (isOther) this.#showSubject();
    const kind = item.status === "waiting" && item.approval ? "approval" : item.status;
    // A form is kept, so that a decision that the server refuses can be corrected. Another question needs another one.
    const isAskedAgain = isOther || item.isRunAgain !== before.isRunAgain;
    if (isAskedAgain) this.#form = null;
    const isDeveloper = developer.isOn && ["approval", "waiting"].includes(kind);
    const state = `${kind} ${isDeveloper} ${item.outcome?.status ?? ""}`;
    if (isAskedAgain || state !== this.#kind) this.#showKind(state, kind, isDeveloper);
    if (this.#details.open) this.#fill();
  }

  /** Show again what the call would do: the files may have changed. */
  refresh() {
    if (!this.#kind.startsWith("approval")) return;
    this.#isFilled = false;
    this.#fill();
  }

  #showSubject() {
    const { args, display } = this.#item;
    const subject = String(subjectOf(display ?? args ?? {})).replaceAll(/\r?\n/g, " ↵ ");
    const isLong = subject.length > MAX_SUBJECT_CHARACTERS;
    this.#subject.replaceChildren(...visibleText(isLong ? `${subject.slice(0, MAX_SUBJECT_CHARACTERS)} …` : subject));
  }

  #showKind(state, kind, isDeveloper) {
    const wasAsking = this.#kind.startsWith("approval");
    const hadFocus = this.#rest.contains(document.activeElement);
    this.#kind = state;
    const { outcome, reason = "" } = this.#item;
    const [label, style] = BADGES[kind]();
    this.#badge.textContent = label;
    this.#badge.className = `badge ${style}`;
    this.node.dataset.status = kind;
    this.#showFacts(outcome);
    const isAsking = kind === "approval";
    if (isAsking) this.#details.open = true;
    else if (wasAsking) this.#details.open = false;
    this.#reason.hidden = !isAsking || !reason;
    this.#reason.replaceChildren(...visibleText(serverText(reason)));
    const forms = [isAsking && (this.#form ??= this.#makeForm()).node, isDeveloper && this.#toolForm()].filter(Boolean);
    this.#rest.replaceChildren(...forms);
    if (hadFocus && wasAsking && !isAsking) this.#actions.moveFocus?.();
  }

  #showFacts(outcome) {
    const facts = [];
    if (outcome?.exit_code !== undefined) {
      const isGood = outcome.exit_code === 0;
      facts.push(element("span", { class: isGood ? "added" : "removed" }, t("exit code {code}", { code: outcome.exit_code })));
    }
    if (outcome?.diff) {
      const { added, removed } = countUnified(outcome.diff);
      facts.push(element("span", { class: "added" }, `+${added}`), element("span", { class: "removed" }, `−${removed}`));
    }
    this.#facts.replaceChildren(...facts);
  }

  /** Fill the open card. A closed one costs nothing: a session may have thousands. */
  #fill() {
    if (this.#isFilled) return;
    this.#isFilled = true;
    const { tool, args, display, edited, outcome, result, status, approval } = this.#item;
    const isOpen = status === "waiting" && approval;
    const preview = isOpen ? this.#actions.preview : undefined;
    this.#call.replaceChildren(...callView({ tool, args, display, edited, about: this.#about }, { preview, diff: outcome?.diff }));
    this.#result.replaceChildren(...(result ? resultView(result) : []));
    if (result !== undefined && !outcome) this.#fetchRecord();
  }

  /** A page that began with a snapshot has the results only, not what people are told of them. */
  async #fetchRecord() {
    const record = await this.#actions.record?.().catch(() => null);
    if (!record || this.#item.outcome) return;
    this.#item = { ...this.#item, outcome: { status: record.status, ...record.facts } };
    this.#isFilled = false;
    this.#showFacts(this.#item.outcome);
    if (this.#details.open) this.#fill();
  }

  #makeForm() {
    const { tool, args, isRunAgain } = this.#item;
    const { decide, choices, makeRules } = this.#actions;
    return new DecisionForm({ decide, choices, makeRules }, { texts: textsOfCall({ tool, isRunAgain }), args, isRunAgain });
  }

  /** For developers: what a person types is the result. */
  #toolForm() {
    const field = element("textarea", { rows: "2", id: `result-${++formCount}`, spellcheck: "false" });
    const details = element(
      "details",
      { class: "as-tool" },
      element("summary", {}, t("Answer as the tool")),
      element("p", { class: "facts" }, t("The tool does not run. The model reads this as its result.")),
      element("label", { for: field.id }, t("Result (JSON or plain text)")),
      field,
      element(
        "div",
        { class: "buttons" },
        button(t("Send result"), "quiet", () => this.#actions.answer(resultFields(field.value))),
        button(t("Send as an error"), "quiet", () => this.#actions.answer({ error: field.value || "Failed" })),
      ),
    );
    details.open = !this.#item.approval;
    return details;
  }
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
