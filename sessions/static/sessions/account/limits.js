/** What limits the user's work: budgets, which operators set, and rules for tool calls, which the user can delete. */

import { dateText, dollars, t } from "../language.js";
import { element } from "../render.js";
import { api } from "./api.js";
import { facts, nameNode, riskyButton, Rows } from "./rows.js";

const PERIOD_TEXTS = { total: t("in total"), day: t("per day"), month: t("per month") };

export class Budgets {
  constructor() {
    this.rows = new Rows("budgets", budgetRow);
  }

  async load() {
    const { budgets } = await api("/budgets");
    this.rows.show(budgets);
  }
}

function budgetRow({ scope, session_id: session, period, limit, spent, reserved, left, ends_at: endsAt }) {
  const name = scope === "session" ? t("Session {session}", { session }) : scope === "api_key" ? t("This API key") : t("All your sessions");
  const text = t("{left} of {limit} left", { left: dollars(left), limit: dollars(limit) });
  const meter = element("meter", { min: 0, max: limit, value: left, low: limit / 5, high: limit / 2, optimum: limit, "aria-label": text });
  const line = facts(
    PERIOD_TEXTS[period],
    t("{amount} spent", { amount: dollars(spent) }),
    reserved > 0 && t("{amount} reserved for running calls", { amount: dollars(reserved) }),
    endsAt && t("starts again at {time}", { time: dateText(new Date(endsAt)) }),
  );
  return [nameNode(name), element("span", {}, text), meter, line];
}

export class Rules {
  /** `attempt(action, text)` runs an action, shows its error, and says the text when it succeeds. */
  constructor(attempt) {
    this.attempt = attempt;
    this.rows = new Rows("rules", (rule) => this.#row(rule), document.getElementById("rule-title"));
  }

  async load() {
    const { rules } = await api("/rules");
    this.rows.show(rules);
  }

  #row({ id, effect, tool, subject, agent, folder, session_id: session, created_at: createdAt }) {
    const isAllowed = effect === "allow";
    const badge = element("span", { class: `badge ${isAllowed ? "done" : "failed"}` }, isAllowed ? t("allowed") : t("denied"));
    const line = facts(
      isNarrow(agent) && t("agent {agent}", { agent }),
      isNarrow(folder) && t("folder {folder}", { folder }),
      session ? t("only in the session {session}", { session }) : t("in all sessions"),
      t("since {time}", { time: dateText(new Date(createdAt)) }),
    );
    const remove = () => this.attempt(() => this.#remove(id), t("The rule is deleted."));
    const name = [tool, isNarrow(subject) && subject].filter(Boolean).join(" ");
    const title = element("span", {}, badge, " ", element("code", { dir: "ltr" }, name));
    return [title, line, riskyButton(t("Delete"), t("Delete for good"), name, remove)];
  }

  async #remove(id) {
    await api(`/rules/${id}`, { method: "DELETE" });
    await this.load();
  }
}

// What a rule says that is about all agents, folders or calls of a tool.
const WIDE = new Set(["", "*", "**", "."]);
const isNarrow = (pattern) => !WIDE.has(pattern);
