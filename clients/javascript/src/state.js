/**
 * The state of a session, from a snapshot and the events after it. Pure: no page, no socket, no clock.
 *
 * The state is plain data, so that it can be stored. `apply` returns a new state, which shares unchanged parts with the
 * old one.
 */

export const EMPTY_STATE = Object.freeze({
  number: 0, // of its last event
  olderMessages: false, // the session has more messages than the snapshot
  order: [], // ids of turns, in the order in which they are answered
  turns: {}, // open ones: {status, attempt}, by id; {error_code, retry_at, retry_after} when its provider makes it wait
  ends: {}, // of turns: {status, error, code}, by id; not part of a snapshot
  messages: [], // within a turn in the order in which the model sees them; those that it has not read as they came
  texts: {}, // unfinished messages: {turn_id, message_id, text, reasoning?}, by message
  calls: {}, // tool calls that wait for a result, by id
  outcomes: {}, // of finished tool calls: {status, exit_code?, diff?, …}, by id; not part of a snapshot
  workspace: null, // what people may see of it
  summary: null, // the newest one: {turn_id, summary_id, text, messages, until}
  plans: {}, // by the call that proposed each; a snapshot has the active one only
  agent: "orchestrator", // that answers from here on
  mode: "ask",
  switches: [], // of agents: {number, from_agent, to_agent, reason, by_user?}; not part of a snapshot
  // Of the turns that have ended. `context` of the newest step: {used, window}, in tokens.
  usage: Object.freeze({ input_tokens: 0, output_tokens: 0, cached_tokens: 0, cost: "0", unpriced_turns: 0 }),
});

export function fromSnapshot(snapshot) {
  return {
    ...EMPTY_STATE,
    number: snapshot.number,
    olderMessages: snapshot.older_messages,
    order: [...new Set([...snapshot.messages, ...snapshot.turns].map((one) => one.turn_id))],
    turns: indexBy(snapshot.turns, "turn_id"),
    messages: snapshot.messages,
    texts: indexBy(snapshot.texts, "message_id"),
    calls: indexBy(snapshot.tool_calls, "call_id"),
    workspace: snapshot.workspace ?? null,
    summary: snapshot.summary ?? null,
    plans: indexBy(snapshot.plan ? [snapshot.plan] : [], "call_id"),
    agent: snapshot.session.current_agent,
    mode: snapshot.session.mode,
    usage: snapshot.usage ?? EMPTY_STATE.usage,
  };
}

export function apply(state, { number, kind, payload }) {
  return { ...state, ...CHANGES[kind]?.(state, payload, number), number };
}

/** Return the open turns, the current one first. */
export function openTurns({ order, turns }) {
  return order.filter((id) => turns[id]);
}

const CHANGES = {
  session_changed: (state, { mode }) => ({ mode }),
  agent_switched: ({ switches }, { to_agent, ...change }, number) => ({
    agent: to_agent,
    switches: change.from_agent === to_agent ? switches : [...switches, { ...change, to_agent, number }],
  }),
  message_added: (state, message, number) => ({
    ...(message.context && { usage: { ...state.usage, context: message.context } }),
    messages: [...state.messages, { ...message, number }],
    order: state.order.includes(message.turn_id) ? state.order : [...state.order, message.turn_id],
    texts: without(state.texts, (text) => text.message_id === message.message_id),
  }),
  message_edited: ({ messages }, { message_id, content }) => ({
    messages: messages.map((message) => (message.message_id === message_id ? { ...message, content } : message)),
  }),
  message_withdrawn: ({ messages }, { message_id }) => ({
    messages: messages.filter((message) => message.message_id !== message_id),
  }),
  text_delta: ({ texts }, { turn_id, message_id, text }) => ({
    texts: append(texts, { turn_id, message_id }, "text", text),
  }),
  reasoning_delta: ({ texts }, { turn_id, message_id, text }) => ({
    texts: append(texts, { turn_id, message_id }, "reasoning", text),
  }),
  turn_queued: ({ turns, messages, order }, { turn_id, messages: moved = [] }) => ({
    turns: { ...turns, [turn_id]: { turn_id, attempt: 0, ...turns[turn_id], status: "queued" } },
    // The turn that they were sent into ends without having read them.
    messages: moved.length ? messages.map((one) => (moved.includes(one.message_id) ? { ...one, turn_id } : one)) : messages,
    order: order.includes(turn_id) || !moved.length ? order : [...order, turn_id],
  }),
  turn_started: ({ turns, texts, messages }, { turn_id, attempt, replaces, reads = [] }) => ({
    turns: { ...turns, [turn_id]: { turn_id, attempt, status: "running" } },
    messages: reads.length ? markRead(messages, reads) : messages,
    // The previous attempt was lost; this one repeats its text.
    texts: without(texts, (text) => replaces.includes(text.message_id)),
  }),
  turn_waiting: ({ turns }, { turn_id }) => ({
    turns: { ...turns, [turn_id]: { ...turns[turn_id], status: "waiting" } },
  }),
  summary_added: (state, summary) => ({ summary }),
  // Queued until the provider takes requests again; the next `turn_started` ends it.
  retry_scheduled: ({ turns }, { turn_id, ...retry }) => ({
    turns: { ...turns, [turn_id]: { ...turns[turn_id], ...retry, status: "queued" } },
  }),
  workspace_changed: (state, workspace) => ({ workspace }),
  tool_call_requested: ({ calls }, call) => ({ calls: { ...calls, [call.call_id]: call } }),
  approval_decided({ calls, messages }, { call_id, arguments: args, display, status }) {
    // The message has what the model asked for; what runs is what the user approved.
    const change = { arguments: args, ...(status === "edited" && { edited: true }) };
    const approved = ({ display: before, ...call }) => ({ ...call, ...change, ...(display && { display }) });
    const changed = (call) => (call.id === call_id ? approved(call) : call);
    return {
      calls: calls[call_id] ? { ...calls, [call_id]: { ...approved(calls[call_id]), requires_approval: false } } : calls,
      messages: messages.map((one) => (one.tool_calls ? { ...one, tool_calls: one.tool_calls.map(changed) } : one)),
    };
  },
  tool_call_finished: ({ calls, outcomes }, { call_id, turn_id, ...outcome }) => ({
    calls: without(calls, (call) => call.call_id === call_id),
    outcomes: { ...outcomes, [call_id]: outcome },
  }),
  plan_proposed: ({ plans }, plan) => ({ plans: { ...plans, [plan.call_id]: plan } }),
  plan_decided: (state, { plan_id, decision, goal, subtasks }) =>
    changePlan(state, plan_id, () => decision !== "reject" && { status: "in_progress", ...(subtasks && { goal, subtasks }) }),
  plan_updated: (state, { plan_id, subtask_id, status, result }) =>
    changePlan(state, plan_id, ({ subtasks }) => ({
      subtasks: subtasks.map((one) => (one.id === subtask_id ? { ...one, status, result } : one)),
    })),
  plan_finished: (state, { plan_id, status }) => changePlan(state, plan_id, () => ({ status })),
  queue_changed({ order }, { turn_ids }) {
    // They change places among themselves; a stopped turn between them keeps its place.
    const queue = turn_ids.filter((id) => order.includes(id));
    return { order: order.map((id) => (turn_ids.includes(id) ? queue.shift() : id)) };
  },
  turn_completed: (state, { turn_id, ...use }) => endTurn(state, turn_id, { status: "completed", ...use }),
  turn_failed: (state, { turn_id, error, error_code, ...more }) =>
    endTurn(state, turn_id, { status: "failed", error, code: error_code, ...more }),
  turn_cancelled: (state, { turn_id, ...use }) => endTurn(state, turn_id, { status: "cancelled", ...use }),
  // Its messages left the conversation; the next message takes their place.
  turn_replaced({ order, ends, messages, plans, summary }, { turn_id, summary: newest = summary }) {
    const { [turn_id]: replaced, ...rest } = ends;
    return {
      order: order.filter((id) => id !== turn_id),
      ends: rest,
      messages: messages.filter((message) => message.turn_id !== turn_id),
      plans: without(plans, (plan) => plan.turn_id === turn_id),
      summary: newest,
    };
  },
  session_deleted: () => ({ turns: {}, texts: {}, calls: {} }),
};

function endTurn({ turns, ends, texts, calls, usage }, turn_id, end) {
  const ofTurn = (one) => one.turn_id === turn_id;
  return {
    turns: without(turns, ofTurn),
    ends: { ...ends, [turn_id]: end },
    texts: without(texts, ofTurn),
    calls: without(calls, ofTurn),
    usage: addUse(usage, end),
  };
}

function addUse(usage, { input_tokens = 0, output_tokens = 0, cached_tokens = 0, cost }) {
  return {
    ...usage,
    input_tokens: usage.input_tokens + input_tokens,
    output_tokens: usage.output_tokens + output_tokens,
    cached_tokens: usage.cached_tokens + cached_tokens,
    cost: cost ? addDollars(usage.cost, cost) : usage.cost,
    unpriced_turns: usage.unpriced_turns + (cost ? 0 : 1),
  };
}

const DECIMALS = 8; // of a cost

/** Add decimal numbers exactly: floats would drift away from the server's sum. */
function addDollars(...costs) {
  const units = costs.map((cost) => {
    const [whole, part = ""] = cost.split(".");
    return BigInt(whole + part.padEnd(DECIMALS, "0"));
  });
  const digits = units.reduce((sum, one) => sum + one).toString().padStart(DECIMALS + 1, "0");
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`.replace(/\.?0+$/, "");
}

function append(texts, names, field, text) {
  const current = texts[names.message_id] ?? { ...names, text: "" };
  return { ...texts, [names.message_id]: { ...current, [field]: (current[field] ?? "") + text } };
}

/** Put messages where the model reads them: behind what their turn has said so far. */
function markRead(messages, ids) {
  const isRead = (one) => ids.includes(one.message_id);
  return [...messages.filter((one) => !isRead(one)), ...messages.filter(isRead).map((one) => ({ ...one, read: true }))];
}

/** Change the plan with this id, if the state has it: a later snapshot does not. */
function changePlan({ plans }, plan_id, change) {
  const plan = Object.values(plans).find((one) => one.plan_id === plan_id);
  return plan && { plans: { ...plans, [plan.call_id]: { ...plan, ...change(plan) } } };
}

function indexBy(list, field) {
  return Object.fromEntries(list.map((one) => [one[field], one]));
}

function without(record, test) {
  return Object.fromEntries(Object.entries(record).filter(([, one]) => !test(one)));
}
