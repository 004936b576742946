/** The answer to calls that wait for approval: Approve, Edit, Reject with a word for the model, Always allow. */

import { t } from "../language.js";
import { onKeys } from "../keys.js";
import { button, element } from "../render.js";
import { ArgumentForm } from "./argumentform.js";
import { RuleChoice } from "./rulechoice.js";

// As the server (MAX_FEEDBACK_LENGTH).
const MAX_FEEDBACK_CHARACTERS = 10_000;

export class DecisionForm {
  #actions;
  #texts;
  #args;
  #isRunAgain;
  #notice = element("p", { class: "remark", role: "alert" });

  /**
   * `actions`: decide(decision, {arguments, feedback}), which may return a promise; choices(), which returns a promise of
   * rules; and makeRules(rules, isEverywhere), a promise. `texts`: approve, reject and label. With `args` they can be edited.
   */
  constructor(actions, { texts, args, isRunAgain = false, isMany = false }) {
    this.#actions = actions;
    this.#texts = texts;
    this.#args = args;
    this.#isRunAgain = isRunAgain;
    this.isMany = isMany;
    this.node = element("div", { class: "decision", role: "group", "aria-label": texts.label });
    this.#showChoice();
  }

  /** Whether the person has begun something that must not vanish. */
  get isBusy() {
    return Boolean(this.#open);
  }

  focus() {
    this.node.querySelector("button, textarea, input")?.focus();
  }

  #open = "";

  #showChoice(focused = "") {
    this.#open = "";
    const isEditable = this.#args && Object.keys(this.#args).length > 0;
    const buttons = {
      approve: button(this.#texts.approve, "primary", () => this.#decide("approve")),
      ...(isEditable && { edit: button(t("Edit"), "quiet", () => this.#showEdit()) }),
      reject: button(this.#texts.reject, "quiet", () => this.#showReject()),
      // Whether a rule may allow a call for a second time is another question than whether it may run.
      ...(this.#actions.choices && !this.#isRunAgain && { rule: button(t("Always allow…"), "quiet", () => this.#showRules()) }),
    };
    this.#show(element("div", { class: "buttons" }, ...Object.values(buttons)));
    if (focused) buttons[focused]?.focus();
  }

  #showEdit() {
    this.#open = "edit";
    const form = new ArgumentForm(this.#args);
    const approve = button(t("Approve as edited"), "primary", () => this.#attempt(() => this.#decide("edit", { arguments: form.read() })));
    this.#show(form.node, this.#buttons(approve, "edit"));
    form.focus();
  }

  #showReject() {
    this.#open = "reject";
    const label = t("What should be different? The model reads it.");
    const field = element("textarea", { rows: "2", "aria-label": label, placeholder: label, maxlength: MAX_FEEDBACK_CHARACTERS, dir: "auto" });
    const reject = () => this.#decide("reject", field.value.trim() ? { feedback: field.value } : {});
    onKeys(field, { enter: reject, escape: (event) => this.#back(event, "reject") });
    this.#show(field, this.#buttons(button(this.#texts.reject, "primary", reject), "reject"));
    field.focus();
  }

  async #showRules() {
    this.#open = "rule";
    this.#show(element("p", { class: "facts" }, t("Looking for rules…")));
    let rules = [];
    try {
      rules = await this.#actions.choices();
    } catch (error) {
      this.#showChoice("rule");
      this.#say(error.message);
      return;
    }
    if (this.#open !== "rule") return;
    if (!rules.length) {
      this.#showChoice("rule");
      this.#say(t("No rule can cover this. Approve each call."));
      return;
    }
    const choice = new RuleChoice(rules, { isMany: this.isMany });
    const make = button(this.isMany ? t("Make the rules and approve") : t("Make the rule and approve"), "primary", () =>
      this.#attempt(async () => {
        await this.#actions.makeRules(choice.chosen, choice.isEverywhere);
        await this.#decide("approve");
      }),
    );
    const note = element("p", { class: "facts" }, t("Calls that a rule covers run without a question. You can delete rules in your account."));
    this.#show(choice.node, note, this.#buttons(make, "rule"));
    choice.focus();
  }

  #buttons(action, name) {
    return element("div", { class: "buttons" }, action, button(t("Back"), "quiet", () => this.#showChoice(name)));
  }

  #back(event, name) {
    event.preventDefault(); // Escape would close the dialog around it
    event.stopPropagation();
    this.#showChoice(name);
  }

  async #attempt(action) {
    this.#say("");
    try {
      await action();
    } catch (error) {
      this.#say(error.message);
    }
  }

  #decide(decision, fields = {}) {
    return this.#attempt(() => this.#actions.decide(decision, fields));
  }

  #show(...nodes) {
    this.#say("");
    this.node.replaceChildren(...nodes, this.#notice);
  }

  #say(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = !text;
  }
}

/** Texts of the form for one call. */
export function textsOfCall({ tool, isRunAgain }) {
  return {
    approve: isRunAgain ? t("Run it again") : t("Approve"),
    reject: isRunAgain ? t("Do not run it again") : t("Reject"),
    label: t("Decision about {tool}", { tool }),
  };
}
