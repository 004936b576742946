/** Nodes about answers: who wrote them, how turns ended, why the agent changed, and suggestions to go on. */

import { errorText, serverText, t } from "../language.js";
import { button, element, Message } from "../render.js";
import { agentTitle, modeTitle } from "./bar.js";

/** A message that says which agent and model wrote it, and in which mode. */
export class SignedMessage extends Message {
  update(item) {
    super.update(item);
    const { agent, mode, model } = item;
    const text = agent ? [agentTitle(agent), mode && modeTitle(mode), model].filter(Boolean).join(" · ") : "";
    if (text === (this.signature?.textContent ?? "")) return;
    this.signature ??= element("span", { class: "signature", title: t("Agent, mode and model of this answer") });
    this.signature.textContent = text;
    this.heading.append(this.signature);
  }
}

/** The end of a turn: what it used, and for the newest one how to have it answered again. */
export class TurnEnd {
  /** `actions`: again(message), rewrite(message). */
  constructor(actions) {
    this.actions = actions;
    this.line = element("p", { class: "use" });
    this.node = element("div", { class: "end" }, this.line);
  }

  update({ use, again }) {
    this.showUse(use);
    this.showButtons(again, t("Regenerate"), t("Answers your last message again"));
  }

  showUse(use) {
    if (this.line.textContent !== use) this.line.textContent = use;
    this.line.hidden = !use;
  }

  showButtons(again, label, title) {
    const state = again ? `${again.id} ${again.isSending}` : "";
    this.again = again;
    if (state === (this.state ?? "")) return;
    this.state = state;
    this.buttons?.remove();
    if (!again) return;
    const retry = button(label, this.kind ?? "link", () => this.actions.again(this.again));
    const edit = button(t("Edit message"), this.kind === "primary" ? "quiet" : "link", () => this.actions.rewrite(this.again));
    retry.title = title;
    edit.title = t("Changes your last message and sends it again");
    retry.disabled = edit.disabled = again.isSending;
    this.buttons = element("div", { class: "buttons" }, retry, edit);
    this.node.append(this.buttons);
  }
}

/** A turn that failed: what happened, what helps, and another try. */
export class Failure extends TurnEnd {
  kind = "primary";

  constructor({ text, code, advice }, actions) {
    super(actions);
    this.node = element(
      "article",
      { class: "card error" },
      element("h2", { class: "heading" }, t("Something went wrong")),
      element("p", { class: "body", dir: "auto" }, errorText(code, text)),
      ...(advice ? [element("p", { class: "advice" }, advice)] : []),
      element("p", { class: "code" }, code),
      this.line,
    );
  }

  update({ use, again }) {
    this.showUse(use);
    this.showButtons(again, t("Retry"), t("Sends your last message again"));
  }
}

/** Another agent answers from here on, and why. */
export class AgentSwitch {
  constructor({ to_agent: to, reason, by_user: byUser }) {
    const text = byUser ? t("You switched to {agent}.", { agent: agentTitle(to) }) : t("{agent} takes over: {reason}", { agent: agentTitle(to), reason: serverText(reason) });
    this.node = element("p", { class: "switch", dir: "auto" }, text);
  }

  update() {}
}

/** Answers that a question of the model suggests. */
export class Suggestions {
  constructor(item, send) {
    this.send = send;
    this.node = element("div", { class: "suggestions", role: "group", "aria-label": t("Suggested answers") });
  }

  update({ suggestions }) {
    const state = JSON.stringify(suggestions);
    if (state === this.state) return;
    this.state = state;
    this.node.replaceChildren(...suggestions.map((text) => button(text, "chip suggestion", () => this.send(text))));
    this.node.hidden = !suggestions.length;
  }
}
