/**
 * What waits for the person in all sessions: a button with the number, a dialog to answer in, and the tab's title, icon
 * and notifications. Events come for open sessions only, so the page asks for the list, also in the background.
 */

import { serverText, t, tn } from "../language.js";
import { element, List } from "../render.js";
import { attention } from "./attention.js";
import { callView } from "./calldetails.js";
import { choicesOfAll, makeRules, textsOfMany } from "./calls.js";
import { subjectOf } from "./changes.js";
import { DecisionForm, textsOfCall } from "./decision.js";
import { visibleText } from "./diff.js";
import { request, sessionPath } from "./requests.js";
import { fetchChoices } from "./rulechoice.js";

// Browsers slow it down in the background.
const POLL_INTERVAL_MS = 10_000;
// Events come in bursts; one request covers a burst.
const REFRESH_DELAY_MS = 300;
const EVENTS = new Set([
  ...["tool_call_requested", "approval_decided", "tool_call_finished", "plan_proposed", "plan_decided", "plan_finished"],
  ...["turn_completed", "turn_failed", "turn_cancelled", "session_deleted", "snapshot"],
]);
const MAX_TEXT_CHARACTERS = 120;
// What asks whether a call that may have run already runs again.
const UNKNOWN_RULE = "unknown";

export class Inbox {
  #button;
  #dialog;
  #sessions;
  #timer = null;
  #approvals = [];

  /** `toggle` opens the `dialog`, which has nodes of these classes: close, notify, empty, more and inbox-sessions. */
  constructor(toggle, dialog) {
    this.#button = toggle;
    this.#dialog = dialog;
    this.#sessions = new List(dialog.querySelector(".inbox-sessions"), (item) => new InboxSession(item, () => this.refresh()));
    toggle.addEventListener("click", () => this.open());
    // Forms that are half filled are given up with the dialog.
    dialog.addEventListener("close", () => this.#sessions.show([]));
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.querySelector(".notify").addEventListener("click", () => this.#askForNotifications());
    // A link of the dialog leads to its session.
    dialog.addEventListener("click", ({ target }) => target.closest("a") && dialog.close());
    setInterval(() => this.refresh(), POLL_INTERVAL_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.#schedule());
    this.refresh();
  }

  open() {
    this.#showPermission();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#sessions.show(bySession(this.#approvals));
    this.refresh();
  }

  handleEvent({ kind }) {
    if (EVENTS.has(kind)) this.#schedule();
  }

  #schedule() {
    this.#timer ??= setTimeout(() => this.refresh(), REFRESH_DELAY_MS);
  }

  async refresh() {
    clearTimeout(this.#timer);
    this.#timer = null;
    try {
      this.#show(await request("GET", "/api/v1/approvals"));
    } catch ({ status }) {
      // Without a connection the list stays as it is.
      if (status === 401) this.#show({ approvals: [], total: 0 });
    }
  }

  #show({ approvals, total }) {
    const label = tn(total, "{count} approval waits", "{count} approvals wait");
    this.#button.querySelector(".count").textContent = total || "";
    this.#button.setAttribute("aria-label", total ? label : t("Approvals"));
    const newest = approvals.at(-1);
    attention.set("approvals", total, { text: newest ? textOf(newest) : label, open: () => this.open() });
    this.#approvals = approvals;
    if (this.#dialog.open) this.#sessions.show(bySession(approvals));
    this.#dialog.querySelector(".empty").hidden = total > 0;
    const more = this.#dialog.querySelector(".more");
    more.hidden = total <= approvals.length;
    more.textContent = tn(total - approvals.length, "{count} more waits", "{count} more wait");
  }

  #showPermission() {
    this.#dialog.querySelector(".notify").hidden = attention.permission !== "default";
  }

  async #askForNotifications() {
    await attention.askPermission();
    this.#showPermission();
  }
}

function bySession(approvals) {
  const sessions = new Map();
  for (const approval of approvals) {
    const { session_id: id, title } = approval;
    if (!sessions.has(id)) sessions.set(id, { key: id, id, title, approvals: [] });
    sessions.get(id).approvals.push(approval);
  }
  return [...sessions.values()];
}

/** Return what a notification says. */
function textOf({ tool_name: tool, display, title, session_id: id }) {
  const subject = String(subjectOf(display)).slice(0, MAX_TEXT_CHARACTERS);
  return `${tool} ${subject}\n${title || id}`;
}

/** The approvals of one session, with one answer for all calls among them. */
class InboxSession {
  #cards;
  #all = element("div", {});
  #ids = "";

  constructor({ id, title }, onChange) {
    this.id = id;
    this.onChange = onChange;
    const link = element("a", { href: `#${encodeURIComponent(id)}`, dir: "auto" }, title || id);
    const list = element("div", { class: "inbox-calls" });
    this.#cards = new List(list, (item) => new InboxCard(item, id, onChange));
    this.node = element("section", {}, element("h3", {}, link), this.#all, list);
  }

  update({ approvals }) {
    this.#cards.show(approvals.map((approval) => ({ ...approval, key: `${approval.request_id} ${approval.rule}` })));
    const ids = approvals.filter(isCall).map((approval) => approval.call_id);
    const shown = JSON.stringify(ids);
    if (shown === this.#ids) return;
    this.#ids = shown;
    this.#all.replaceChildren(...(ids.length > 1 ? [this.#formOf(ids)] : []));
  }

  #formOf(ids) {
    const calls = ids.map((id) => ({ key: this.id, id }));
    const actions = {
      decide: (decision, { feedback }) => decide(this.id, "approvals", { call_ids: ids, decision, feedback }, this.onChange),
      choices: () => choicesOfAll(calls),
      makeRules: (rules, isEverywhere) => makeRules(rules, isEverywhere ? null : this.id),
    };
    return new DecisionForm(actions, { texts: textsOfMany(ids.length), isMany: true }).node;
  }
}

/** One call that waits. A plan is decided in its session, where its sub-tasks are. */
class InboxCard {
  constructor(approval, key, onChange) {
    const { tool_name: tool, call_id: id, arguments: args, reason, rule, client_tool: defined } = approval;
    const display = JSON.stringify(approval.display) === JSON.stringify(args) ? undefined : approval.display;
    const title = element("h4", { class: "heading" }, element("code", {}, ...visibleText(tool)));
    this.node = element("article", { class: "card question" }, title);
    if (!isCall(approval)) {
      this.node.append(element("p", { dir: "auto" }, ...visibleText(String(args.goal ?? ""))), element("p", { class: "reason" }, t("Open the session to decide about its plan.")));
      return;
    }
    const actions = {
      decide: (decision, { arguments: modified_arguments, feedback }) =>
        decide(key, "hitl-decision", { call_id: id, decision, modified_arguments, feedback }, onChange),
      choices: () => fetchChoices(key, id),
      makeRules: (rules, isEverywhere) => makeRules(rules, isEverywhere ? null : key),
    };
    const isRunAgain = rule === UNKNOWN_RULE;
    const form = new DecisionForm(actions, { texts: textsOfCall({ tool, isRunAgain }), args, isRunAgain });
    const details = callView({ tool, args, display, about: defined?.description });
    this.node.append(...details, element("p", { class: "reason" }, ...visibleText(serverText(reason))), form.node);
  }

  update() {}
}

function isCall({ request_type: type }) {
  return type === "tool";
}

async function decide(key, path, body, onChange) {
  try {
    await request("POST", `${sessionPath(key)}/${path}`, body);
  } finally {
    // Also after a refusal: the call may have been answered elsewhere.
    onChange();
  }
}
