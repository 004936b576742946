/**
 * What is known of a session: a snapshot and the events after it, and nothing else. Pure: no page, no socket, no clock.
 *
 * The state is plain data, so that it can be stored. `apply` returns a new one and leaves the old one alone; what has
 * not changed is shared by both.
 */

export const NOTHING = Object.freeze({
  number: 0, // of the last event in it
  olderMessages: false, // whether there are more than a snapshot holds
  order: [], // ids of turns, in the order in which they are answered
  turns: {}, // those that are open: {status, attempt}, by id
  ends: {}, // how turns ended: {status, error, code}, by id; a snapshot does not tell
  messages: [], // in each turn in the order of arrival
  texts: {}, // begun and not finished: {turn_id, message_id, text, reasoning?}, by message
  calls: {}, // tool calls that wait for a result, by id
  plans: {}, // by the call that proposed each; a snapshot tells of the active one only
});

export function fromSnapshot(snapshot) {
  return {
    ...NOTHING,
    number: snapshot.number,
    olderMessages: snapshot.older_messages,
    order: [...new Set([...snapshot.messages, ...snapshot.turns].map((one) => one.turn_id))],
    turns: keyed(snapshot.turns, "turn_id"),
    messages: snapshot.messages,
    texts: keyed(snapshot.texts, "message_id"),
    calls: keyed(snapshot.tool_calls, "call_id"),
    plans: keyed(snapshot.plan ? [snapshot.plan] : [], "call_id"),
  };
}

export function apply(state, { number, kind, payload }) {
  return { ...state, ...CHANGES[kind]?.(state, payload, number), number };
}

/** The open turns, the one that is being answered first. */
export function openTurns({ order, turns }) {
  return order.filter((id) => turns[id]);
}

const CHANGES = {
  message_added: (state, message, number) => ({
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
    texts: grown(texts, { turn_id, message_id }, "text", text),
  }),
  reasoning_delta: ({ texts }, { turn_id, message_id, text }) => ({
    texts: grown(texts, { turn_id, message_id }, "reasoning", text),
  }),
  turn_queued: ({ turns }, { turn_id }) => ({
    turns: { ...turns, [turn_id]: { turn_id, attempt: 0, ...turns[turn_id], status: "queued" } },
  }),
  turn_started: ({ turns, texts }, { turn_id, attempt, replaces }) => ({
    turns: { ...turns, [turn_id]: { turn_id, attempt, status: "running" } },
    // The attempt before this one went away; what it had begun to say will be said again.
    texts: without(texts, (text) => replaces.includes(text.message_id)),
  }),
  turn_waiting: ({ turns }, { turn_id }) => ({
    turns: { ...turns, [turn_id]: { ...turns[turn_id], status: "waiting" } },
  }),
  tool_call_requested: ({ calls }, call) => ({ calls: { ...calls, [call.call_id]: call } }),
  approval_decided: ({ calls }, { call_id, arguments: args }) => ({
    calls: calls[call_id]
      ? { ...calls, [call_id]: { ...calls[call_id], arguments: args, requires_approval: false } }
      : calls,
  }),
  tool_call_finished: ({ calls }, { call_id }) => ({ calls: without(calls, (call) => call.call_id === call_id) }),
  plan_proposed: ({ plans }, plan) => ({ plans: { ...plans, [plan.call_id]: plan } }),
  plan_decided: (state, { plan_id, decision, goal, subtasks }) =>
    planChanged(state, plan_id, () => decision !== "reject" && { status: "in_progress", ...(subtasks && { goal, subtasks }) }),
  plan_updated: (state, { plan_id, subtask_id, status, result }) =>
    planChanged(state, plan_id, ({ subtasks }) => ({
      subtasks: subtasks.map((one) => (one.id === subtask_id ? { ...one, status, result } : one)),
    })),
  plan_finished: (state, { plan_id, status }) => planChanged(state, plan_id, () => ({ status })),
  queue_changed({ order }, { turn_ids }) {
    // They change places among themselves; a turn between them that has been stopped stays where it is.
    const queue = turn_ids.filter((id) => order.includes(id));
    return { order: order.map((id) => (turn_ids.includes(id) ? queue.shift() : id)) };
  },
  turn_completed: (state, { turn_id }) => ended(state, turn_id, { status: "completed" }),
  turn_failed: (state, { turn_id, error, error_code }) => ended(state, turn_id, { status: "failed", error, code: error_code }),
  turn_cancelled: (state, { turn_id }) => ended(state, turn_id, { status: "cancelled" }),
  session_deleted: () => ({ turns: {}, texts: {}, calls: {} }),
};

function ended({ turns, ends, texts, calls }, turn_id, end) {
  const ofTurn = (one) => one.turn_id === turn_id;
  return {
    turns: without(turns, ofTurn),
    ends: { ...ends, [turn_id]: end },
    texts: without(texts, ofTurn),
    calls: without(calls, ofTurn),
  };
}

function grown(texts, names, field, text) {
  const known = texts[names.message_id] ?? { ...names, text: "" };
  return { ...texts, [names.message_id]: { ...known, [field]: (known[field] ?? "") + text } };
}

/** Change the plan of this id, if it is known: whoever came later has not heard of it. */
function planChanged({ plans }, plan_id, change) {
  const plan = Object.values(plans).find((one) => one.plan_id === plan_id);
  return plan && { plans: { ...plans, [plan.call_id]: { ...plan, ...change(plan) } } };
}

function keyed(list, field) {
  return Object.fromEntries(list.map((one) => [one[field], one]));
}

function without(record, test) {
  return Object.fromEntries(Object.entries(record).filter(([, one]) => !test(one)));
}
