/** Standing rules: a person sees each rule before it is made. */

import { t } from "../language.js";
import { element } from "../render.js";
import { visibleText } from "./diff.js";
import { request, sessionPath } from "./requests.js";

const COVERAGE_TEXTS = {
  command: () => t("This exact command"),
  prefix: (rule) => t("Commands that begin with “{words}”", { words: rule.subject.replace(/ \*$/, "") }),
  file: () => t("This file"),
  name: (rule) => t("Files named {name}, in any folder", { name: rule.subject }),
  folder: (rule) => t("All files below {folder}", { folder: rule.subject.replace(/\/\*\*$/, "") }),
  workspace: () => t("All files, except those that other programs run or trust"),
  tool: (rule) => t("Every call of {tool}", { tool: rule.tool }),
};
let groupCount = 0;

/** Return the rules that would allow a call, the narrowest first. */
export async function fetchChoices(key, callId) {
  const { choices } = await request("GET", `${sessionPath(key)}/tool-calls/${encodeURIComponent(callId)}/rules`);
  return choices;
}

/** Make a rule for a session, or with null for all sessions. */
export function makeRule({ effect, tool, subject, agent, folder }, key) {
  return request("POST", "/api/v1/rules", { effect, tool, subject, agent, folder, ...(key && { session_id: key }) });
}

/** The rule in the words of the server, as it will be listed. */
export function ruleText({ effect, tool, subject, folder }) {
  const place = folder === "." ? "" : ` (${t("in the folder {folder}", { folder })})`;
  return `${effect} ${tool} ${subject}${place}`;
}

/** A choice of one rule (`isMany` false) or of any number of them, and of the sessions in which they count. */
export class RuleChoice {
  #inputs = [];
  #everywhere;

  constructor(rules, { isMany = false } = {}) {
    this.rules = rules;
    const group = `rule-${++groupCount}`;
    const rows = rules.map((rule, index) => this.#row(rule, index, isMany, group));
    const legend = isMany ? t("Rules to make") : t("Rule to make");
    this.#everywhere = element("input", { type: "checkbox" });
    const scope = element("label", { class: "scope" }, this.#everywhere, t("In all my sessions, not only in this one"));
    this.node = element("fieldset", { class: "rules" }, element("legend", {}, legend), ...rows, scope);
  }

  get chosen() {
    return this.rules.filter((_, index) => this.#inputs[index].checked);
  }

  get isEverywhere() {
    return this.#everywhere.checked;
  }

  focus() {
    this.#inputs[0]?.focus();
  }

  #row(rule, index, isMany, group) {
    const input = element("input", { type: isMany ? "checkbox" : "radio", name: group });
    input.checked = isMany || index === 0;
    this.#inputs.push(input);
    const text = element("span", {}, ...visibleText(COVERAGE_TEXTS[rule.coverage]?.(rule) ?? rule.coverage));
    return element("label", {}, input, text, element("code", { dir: "ltr" }, ...visibleText(ruleText(rule))));
  }
}
