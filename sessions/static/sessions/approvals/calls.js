/** The calls of the open session: their cards, and one bar for all that wait for approval. */

import { t, tn } from "../language.js";
import { element } from "../render.js";
import { DecisionForm } from "./decision.js";
import { request, sessionPath } from "./requests.js";
import { fetchChoices, makeRule, ruleText } from "./rulechoice.js";
import { ToolCard } from "./toolcard.js";

/** Return the card of a call. `preview(tool, args)` may know the file that it would change. */
export function toolCard(item, session, { preview } = {}) {
  const { id } = item;
  return new ToolCard(item, {
    // The outbox keeps it until the server has it. What the server refuses is shown as a notice.
    decide(decision, fields) {
      session.decide(id, decision, fields);
    },
    answer: (fields) => session.result(id, fields),
    choices: () => fetchChoices(session.key, id),
    makeRules: (rules, isEverywhere) => makeRules(rules, isEverywhere ? null : session.key),
    record: () => request("GET", `${sessionPath(session.key)}/tool-calls/${encodeURIComponent(id)}`),
    preview,
    moveFocus: focusNext,
  });
}

/** Return the calls of the conversation that wait for approval. */
export function waitingCalls(conversation) {
  return conversation.filter((item) => item.type === "tool" && item.status === "waiting" && item.approval);
}

export async function makeRules(rules, key) {
  for (const rule of rules) await makeRule(rule, key);
}

/** Return the narrowest rule for each of several calls, each rule once. */
export async function choicesOfAll(calls) {
  const choices = await Promise.all(calls.map(({ key, id }) => fetchChoices(key, id)));
  const narrowest = choices.map(([first]) => first).filter(Boolean);
  return [...new Map(narrowest.map((rule) => [ruleText(rule), rule])).values()];
}

/** Texts of the form for several calls. */
export function textsOfMany(count) {
  return {
    approve: tn(count, "Approve {count} call", "Approve {count} calls"),
    reject: tn(count, "Reject {count} call", "Reject {count} calls"),
    label: t("Decision about all calls that wait"),
  };
}

/** The bar above the message box: one answer for all calls of the session that wait. */
export class WaitingBar {
  #node;
  #form = null;
  #shown = "";

  constructor(node) {
    this.#node = node;
  }

  /** Show the calls of this session that wait, if they are more than one. */
  update(items, session) {
    const ids = items.map(({ id }) => id);
    const shown = JSON.stringify([session.key, ids]);
    if (shown === this.#shown) return;
    const hadFocus = this.#node.contains(document.activeElement);
    this.#shown = shown;
    this.#node.hidden = ids.length < 2;
    this.#form = ids.length < 2 ? null : this.#makeForm(ids, session);
    const title = tn(ids.length, "{count} call waits for your approval", "{count} calls wait for your approval");
    this.#node.replaceChildren(...(this.#form ? [element("p", {}, title), this.#form.node] : []));
    if (!hadFocus) return;
    if (this.#form) this.#form.focus();
    else focusNext();
  }

  #makeForm(ids, session) {
    const calls = ids.map((id) => ({ key: session.key, id }));
    const actions = {
      decide: (decision, fields) => ids.forEach((id) => session.decide(id, decision, fields)),
      choices: () => choicesOfAll(calls),
      makeRules: (rules, isEverywhere) => makeRules(rules, isEverywhere ? null : session.key),
    };
    return new DecisionForm(actions, { texts: textsOfMany(ids.length), isMany: true });
  }
}

/** Give the keyboard to the next question, or to the message box. */
function focusNext() {
  const next = document.querySelector("#log .decision button") ?? document.getElementById("message");
  next.focus({ preventScroll: true });
}
