/** The line at the message box: agent and mode, which can be switched, the model, the context and the cost. */

import { t } from "../language.js";
import { costText, tokensText, useText } from "./endings.js";

const find = (id) => document.getElementById(id);
const MODES = {
  ask: t("Ask before changes"),
  "auto-read": t("Read freely"),
  "auto-edit": t("Edit freely"),
  full: t("Do everything"),
};

/** Return the agent's name for people, as the server has put it into the page. */
export function agentTitle(name) {
  return find("agent").querySelector(`option[value="${CSS.escape(name)}"]`)?.textContent ?? name;
}

export const modeTitle = (mode) => MODES[mode] ?? mode;

/** Store the mode of a session, which may not be known to the server yet. Return whether that worked. */
async function storeMode(key, mode) {
  const send = (method, path, body) =>
    fetch(`/api/v1/sessions${path}`, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const path = `/${encodeURIComponent(key)}`;
  try {
    const { ok, status } = await send("PATCH", path, { mode });
    if (status !== 404) return ok;
    await send("POST", "", { session_id: key });
    return (await send("PATCH", path, { mode })).ok;
  } catch {
    return false;
  }
}

export class ComposerBar {
  /** `key()` is the session's; `switchAgent(name)`; `notify(text)` shows a problem. */
  constructor({ key, switchAgent, notify }) {
    Object.assign(this, { agent: find("agent"), mode: find("mode"), meter: find("context"), context: find("context-text"), cost: find("session-use") });
    this.model = find("model");
    this.firstModel = this.model.textContent;
    this.agent.addEventListener("change", () => switchAgent(this.agent.value));
    this.mode.addEventListener("change", async () => {
      const session = key();
      if ((await storeMode(session, this.mode.value)) || session !== key()) return;
      this.mode.value = this.shownMode;
      notify(t("The mode could not be changed. Try again in a moment."));
    });
  }

  /** Another session is open: what was chosen in the one before is not its own. */
  clear() {
    this.shownAgent = this.shownMode = undefined;
    this.model.textContent = this.firstModel;
  }

  update({ agent, mode, usage, messages }) {
    // A choice that the server has not confirmed yet stays.
    if (agent !== this.shownAgent) this.agent.value = this.shownAgent = agent;
    if (mode !== this.shownMode) this.mode.value = this.shownMode = mode;
    const model = messages.findLast((one) => one.model)?.model;
    if (model && this.model.textContent !== model) this.model.textContent = model;
    this.#showContext(usage.context);
    this.#showUse(usage);
  }

  #showContext(context) {
    this.meter.hidden = this.context.hidden = !context;
    if (!context) return;
    const share = Math.min(1, context.used / context.window);
    this.meter.value = share;
    this.context.textContent = t("{share} of context", { share: `${share > 0 && share < 0.01 ? "<1" : Math.round(share * 100)}%` });
    this.meter.title = this.context.title = t("{used} of {window} that the model can read", { used: tokensText(context.used), window: tokensText(context.window) });
  }

  #showUse(usage) {
    const total = usage.input_tokens + usage.output_tokens;
    this.cost.hidden = !total;
    if (!total) return;
    const cost = usage.unpriced_turns ? t("at least {cost}", { cost: costText(usage.cost) }) : costText(usage.cost);
    const text = `${tokensText(total)} · ${cost}`;
    if (this.cost.textContent !== text) this.cost.textContent = text;
    this.cost.title = t("This session: {use}", { use: useText({ ...usage, cost: undefined }) });
  }
}
