/**
 * Runs the tools of this client, and asks its user. A call runs once, however often the server offers it; a call whose
 * turn has ended is told so by `signal`. What goes wrong in a function is told to the model and ends nothing.
 */

// The server proposes plans by a tool of its own, and a plan has an answer of its own.
const CREATE_PLAN = "create_plan";
const SETTLE_MS = 100;
// Refusals of a result that is what it is.
const UNUSABLE_CODES = new Set(["frame_too_large", "invalid_field", "invalid_text", "image_not_found"]);
// The server takes no text of an error that is much longer, and no model needs one.
const MAX_ERROR_CHARACTERS = 10_000;

/** Return what `hello` says about a tool: its name, or its definition where it has a description. */
export function definitionOf({ name, description, parameters, kind, approval }) {
  if (!description) return name;
  const definition = { name, description, parameters, kind, approval };
  return Object.fromEntries(Object.entries(definition).filter(([, value]) => value !== undefined));
}

export class Toolbox {
  /**
   * `tools`: [{name, run(arguments, {call, signal}), description?, parameters?, kind?, approval?}]. `approve(call, {signal})`
   * and `approvePlan(plan, {signal})` return a decision: {decision, arguments or subtasks, feedback}, or its first word alone.
   */
  constructor(session, { tools, approve, approvePlan }) {
    this.session = session;
    this.setTools(tools);
    this.approve = approve;
    this.approvePlan = approvePlan;
    this.runs = new Map(); // calls that run or have run here, by id: {controller, fields}
    this.questions = new Map(); // open ones, by what they ask: a controller
  }

  setTools(tools) {
    this.tools = new Map(tools?.map((tool) => [tool.name, tool]));
  }

  /** Run a call that the server offers; one that has its result already is answered again. */
  take({ call_id, tool_name, arguments: args, turn_id, edited = false }) {
    const run = this.runs.get(call_id);
    if (run) {
      if (run.fields) this.#answer(call_id, run.fields);
      return;
    }
    const { _, ...given } = args; // a call without arguments has this one, for clients of the original
    this.#run({ call_id, name: tool_name, arguments: given, turn_id, edited });
  }

  /** Ask what the state says is open, and give up what is over. Called after every change of the state. */
  update({ calls, plans, ends, turns }, { isWhole = false } = {}) {
    const questions = new Map();
    if (this.approve) {
      const asked = Object.values(calls).filter((call) => call.requires_approval && call.tool !== CREATE_PLAN);
      for (const call of asked) questions.set(`${call.call_id} ${call.unknown ?? ""}`, [call, this.#decideCall]);
    }
    if (this.approvePlan) {
      for (const plan of Object.values(plans)) if (plan.status === "draft") questions.set(plan.plan_id, [plan, this.#decidePlan]);
    }
    for (const [id, controller] of this.questions) {
      if (questions.has(id)) continue;
      controller.abort();
      this.questions.delete(id);
    }
    for (const [id, question] of questions) if (!this.questions.has(id)) this.#ask(id, ...question);
    // Only a snapshot has all open turns: a call may come before the event of its turn.
    for (const [id, { controller, call }] of this.runs) {
      if (isWhole ? turns[call.turn_id] : !ends[call.turn_id]) continue;
      controller.abort();
      this.runs.delete(id);
    }
  }

  /** Give up everything: the session is closed. */
  close() {
    for (const { controller } of this.runs.values()) controller.abort();
    for (const controller of this.questions.values()) controller.abort();
  }

  async #run(call) {
    const run = { call, controller: new AbortController() };
    this.runs.set(call.call_id, run);
    const { signal } = run.controller;
    try {
      const tool = this.tools.get(call.name);
      if (!tool) throw new Error(`This client has no tool ${call.name}.`);
      const result = await tool.run(call.arguments, { call, signal });
      const fields = { result: result ?? null };
      JSON.stringify(fields); // a value that is not JSON is an error of the tool
      run.fields = fields;
    } catch (error) {
      run.fields = { error: String(error?.message ?? error).slice(0, MAX_ERROR_CHARACTERS) };
    }
    // After the end of its turn the server wants no result.
    if (!signal.aborted) this.#answer(call.call_id, run.fields);
  }

  async #answer(call_id, fields) {
    try {
      await this.session.result(call_id, fields);
    } catch ({ code, message }) {
      if (fields.error || !UNUSABLE_CODES.has(code)) return;
      // The call must not stay open: the model can ask for less, or for something else.
      const told = { error: `The tool has run, but the server cannot take its result: ${message}` };
      const run = this.runs.get(call_id);
      if (run) run.fields = told;
      this.#answer(call_id, told);
    }
  }

  async #ask(id, subject, decide) {
    const controller = new AbortController();
    this.questions.set(id, controller);
    const { signal } = controller;
    // Events that were missed come in a row: the answer may be among them.
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    if (signal.aborted) return;
    try {
      await decide(subject, signal);
    } catch (error) {
      // The question stays open for other clients and for a person.
      this.session.onNotice(String(error?.message ?? error));
    }
  }

  #decideCall = async (call, signal) => {
    const { decision, arguments: args, feedback } = normal(await this.approve(call, { signal }));
    if (decision && !signal.aborted) this.session.decide(call.call_id, decision, { arguments: args, feedback });
  };

  #decidePlan = async (plan, signal) => {
    const { decision, subtasks, feedback } = normal(await this.approvePlan(plan, { signal }));
    if (decision && !signal.aborted) this.session.decidePlan(plan.plan_id, decision, { subtasks, feedback });
  };
}

/** A decision as an object; none leaves the question to others. */
function normal(decision) {
  return typeof decision === "string" ? { decision } : (decision ?? {});
}
