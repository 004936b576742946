/** A plan that the model proposes: a question while it waits for its answer, then how far each sub-task is. */

import { button, element } from "./render.js";

const BADGES = {
  draft: ["needs approval", "attention"],
  in_progress: ["in progress", ""],
  completed: ["completed", "done"],
  failed: ["failed", "failed"],
  cancelled: ["cancelled", "failed"],
};
const SUBTASK_BADGES = {
  pending: ["to do", ""],
  in_progress: ["working…", "attention"],
  completed: ["done", "done"],
  failed: ["failed", "failed"],
  skipped: ["stopped", ""],
};
const LONGEST = 400; // characters of a report; all of it is in the conversation

export class PlanCard {
  /** `decide(fields)` sends the answer: {decision, modified_subtasks or feedback}. */
  constructor({ goal }, decide) {
    this.decide = decide;
    this.badge = element("span", { class: "badge" });
    this.list = element("ol", { class: "subtasks" });
    this.rest = element("div", { class: "rest" });
    this.goal = element("p", { class: "body", dir: "auto" });
    const title = element("h3", { class: "heading" }, "Plan", this.badge);
    this.node = element("article", { class: "card plan" }, title, this.goal, this.list, this.rest);
    this.fields = new Map(); // textareas of descriptions that are being edited, by sub-task
  }

  update({ goal, status, subtasks, isSending }) {
    showBadge(this.badge, BADGES[status]);
    if (this.goal.textContent !== goal) this.goal.textContent = goal;
    this.goal.hidden = !goal;
    const isDraft = status === "draft";
    if (subtasks !== this.subtasks) this.#show(subtasks);
    const kind = !isDraft ? "" : isSending ? "sending" : "asking";
    if (kind === this.kind) return;
    this.kind = kind;
    if (!isDraft && this.fields.size) this.#show(subtasks, false);
    if (kind === "asking") this.rest.replaceChildren(...(this.form ?? this.#choice()));
    else this.rest.replaceChildren(...(kind ? ["Sending…"] : []));
  }

  #show(subtasks, isEdited = false) {
    this.subtasks = subtasks;
    this.fields.clear();
    this.list.replaceChildren(...subtasks.map((subtask) => this.#row(subtask, isEdited)));
  }

  #row({ id, description, agent, dependencies, estimated_time: time, status, result }, isEdited) {
    const badge = element("span", { class: "badge" });
    showBadge(badge, SUBTASK_BADGES[status]);
    const facts = [agent, dependencies.length && `after ${dependencies.join(", ")}`, time].filter(Boolean).join(" · ");
    const head = element("div", { class: "heading" }, element("code", {}, id), element("span", {}, facts), badge);
    const body = isEdited ? this.#field(id, description) : element("p", { class: "body", dir: "auto" }, description);
    const row = element("li", { "data-status": status }, head, body);
    if (result) row.append(element("p", { class: "result", dir: "auto" }, shortened(result)));
    return row;
  }

  #field(id, description) {
    const rows = String(Math.min(description.split("\n").length + 1, 8));
    const field = element("textarea", { rows, "aria-label": `Description of ${id}` });
    field.value = description;
    this.fields.set(id, field);
    return field;
  }

  #choice() {
    const buttons = [
      button("Approve", "primary", () => this.decide({ decision: "approve" })),
      button("Edit", "quiet", () => this.#edit()),
      button("Reject", "quiet", () => this.#reject()),
    ];
    return [element("div", { class: "buttons" }, ...buttons)];
  }

  #edit() {
    this.#show(this.subtasks, true);
    const approve = button("Approve as edited", "primary", () => this.decide({ decision: "edit", modified_subtasks: this.#edited() }));
    this.#ask([element("div", { class: "buttons" }, approve, this.#back())]);
    this.fields.values().next().value.focus();
  }

  #edited() {
    return this.subtasks.map(({ status, result, ...subtask }) => ({
      ...subtask,
      description: this.fields.get(subtask.id).value,
    }));
  }

  #reject() {
    const field = element("textarea", { rows: "2", "aria-label": "What should be different" });
    field.placeholder = "What should be different (optional)";
    const reject = button("Reject the plan", "primary", () => {
      this.decide({ decision: "reject", ...(field.value.trim() && { feedback: field.value }) });
    });
    this.#ask([field, element("div", { class: "buttons" }, reject, this.#back())]);
    field.focus();
  }

  #back() {
    return button("Back", "quiet", () => {
      this.form = null;
      this.#show(this.subtasks);
      this.rest.replaceChildren(...this.#choice());
    });
  }

  /** Kept, so that an answer that the server refuses can be mended. */
  #ask(form) {
    this.form = form;
    this.rest.replaceChildren(...form);
  }
}

function showBadge(badge, [label, kind]) {
  if (badge.textContent !== label) badge.textContent = label;
  badge.className = `badge ${kind}`;
}

function shortened(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text;
}
