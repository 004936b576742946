/** A plan that the model proposes: first a question, after the decision the progress of each sub-task. */

import { isSame } from "./elements.js";
import { t } from "./language.js";
import { button, element } from "./render.js";

const BADGES = {
  draft: [t("needs approval"), "attention"],
  in_progress: [t("in progress"), ""],
  completed: [t("completed"), "done"],
  failed: [t("failed"), "failed"],
  cancelled: [t("cancelled"), "failed"],
};
const SUBTASK_BADGES = {
  pending: [t("to do"), ""],
  in_progress: [t("working…"), "attention"],
  completed: [t("done"), "done"],
  failed: [t("failed"), "failed"],
  skipped: [t("stopped"), ""],
};
const MAX_REPORT_CHARACTERS = 400; // the conversation has the whole report

export class PlanCard {
  /** `decide(fields)` sends {decision, modified_subtasks or feedback}. */
  constructor({ goal }, decide) {
    this.decide = decide;
    this.badge = element("span", { class: "badge" });
    this.list = element("ol", { class: "subtasks" });
    this.rest = element("div", { class: "rest" });
    this.goal = element("p", { class: "body", dir: "auto" });
    const title = element("h2", { class: "heading" }, t("Plan"), this.badge);
    this.node = element("article", { class: "card plan" }, title, this.goal, this.list, this.rest);
    this.fields = new Map(); // textareas for descriptions, by sub-task
  }

  /** `display` has the arguments of the call that proposed the plan, for people to read, where they differ. */
  update({ goal: exactGoal, status, subtasks, display, isSending }) {
    const goal = display?.goal ?? exactGoal;
    this.shown = display?.subtasks ?? [];
    showBadge(this.badge, BADGES[status]);
    if (this.goal.textContent !== goal) this.goal.textContent = goal;
    this.goal.hidden = !goal;
    const isDraft = status === "draft";
    if (!isSame(subtasks, this.subtasks)) this.#showSubtasks(subtasks);
    const kind = !isDraft ? "" : isSending ? "sending" : "asking";
    if (kind === this.kind) return;
    this.kind = kind;
    if (!isDraft && this.fields.size) this.#showSubtasks(subtasks, false);
    if (kind === "asking") this.rest.replaceChildren(...(this.form ?? this.#choice()));
    else this.rest.replaceChildren(...(kind ? [t("Sending…")] : []));
  }

  #showSubtasks(subtasks, isEditable = false) {
    this.subtasks = subtasks;
    this.fields.clear();
    this.list.replaceChildren(...subtasks.map((subtask, place) => this.#row(subtask, isEditable, this.shown[place])));
  }

  #row({ id, description, agent, dependencies, estimated_time, status, result }, isEditable, shown) {
    const badge = element("span", { class: "badge" });
    showBadge(badge, SUBTASK_BADGES[status]);
    const time = shown?.estimated_time ?? estimated_time;
    const facts = [agent, dependencies.length && t("after {subtasks}", { subtasks: dependencies.join(", ") }), time].filter(Boolean).join(" · ");
    const head = element("div", { class: "heading" }, element("code", {}, id), element("span", {}, facts), badge);
    const body = isEditable ? this.#field(id, description) : element("p", { class: "body", dir: "auto" }, shown?.description ?? description);
    const row = element("li", { "data-status": status }, head, body);
    if (result) row.append(element("p", { class: "result", dir: "auto" }, shorten(result)));
    return row;
  }

  #field(id, description) {
    const rows = String(Math.min(description.split("\n").length + 1, 8));
    const field = element("textarea", { rows, "aria-label": t("Description of {subtask}", { subtask: id }) });
    field.value = description;
    this.fields.set(id, field);
    return field;
  }

  #choice() {
    const buttons = [
      button(t("Approve"), "primary", () => this.decide({ decision: "approve" })),
      button(t("Edit"), "quiet", () => this.#edit()),
      button(t("Reject"), "quiet", () => this.#reject()),
    ];
    return [element("div", { class: "buttons" }, ...buttons)];
  }

  #edit() {
    this.#showSubtasks(this.subtasks, true);
    const approve = button(t("Approve as edited"), "primary", () => this.decide({ decision: "edit", modified_subtasks: this.#subtasksFromForm() }));
    this.#showForm([element("div", { class: "buttons" }, approve, this.#back())]);
    this.fields.values().next().value.focus();
  }

  #subtasksFromForm() {
    return this.subtasks.map(({ status, result, ...subtask }) => ({
      ...subtask,
      description: this.fields.get(subtask.id).value,
    }));
  }

  #reject() {
    const field = element("textarea", { rows: "2", "aria-label": t("What should be different") });
    field.placeholder = t("What should be different (optional)");
    const reject = button(t("Reject the plan"), "primary", () => {
      this.decide({ decision: "reject", ...(field.value.trim() && { feedback: field.value }) });
    });
    this.#showForm([field, element("div", { class: "buttons" }, reject, this.#back())]);
    field.focus();
  }

  #back() {
    return button(t("Back"), "quiet", () => {
      this.form = null;
      this.#showSubtasks(this.subtasks);
      this.rest.replaceChildren(...this.#choice());
    });
  }

  /** Show a form. It is kept, so that a decision that the server rejects can be corrected. */
  #showForm(form) {
    this.form = form;
    this.rest.replaceChildren(...form);
  }
}

function showBadge(badge, [label, kind]) {
  if (badge.textContent !== label) badge.textContent = label;
  badge.className = `badge ${kind}`;
}

function shorten(text) {
  return text.length > MAX_REPORT_CHARACTERS ? `${text.slice(0, MAX_REPORT_CHARACTERS)} …` : text;
}
