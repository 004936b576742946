/**
 * What the page shows of a session, from its state and its outbox. Pure: plain values in and out.
 *
 * A turn that waits behind another is in the queue; when it is next, it moves to the conversation. So is a message that
 * the open turn has not read yet.
 */

import { openTurns } from "../client/state.js";
import { againOf, endItem, suggestionsItem, switchItems } from "./composer/endings.js";
import { errorText, t } from "./language.js";

const LABELS = { user: t("You"), assistant: t("Assistant"), system: t("System") };
// Results of calls that a person rejected without a word: as a tool, and by a decision.
const REJECTIONS = new Set(["Error: Refused by the user", "Error: User rejected this operation"]);

const STOPPED_TEXT = t("Stopped.");
const INTERRUPTED_TEXT = t("Interrupted: this answer is incomplete.");
const UNREAD_TEXT = t("Will be read at the next step.");
const UNSENT_TEXT = t("Not sent yet. We'll send it when you're back online.");

/** Return {conversation, queue, progress, retryAt, isAnswering}. Each item has a stable `key` and a `type`. */
export function outline(state, outbox, { isOpen }) {
  const [current, ...waiting] = openTurns(state);
  const results = new Map(state.messages.filter((one) => one.tool_call_id).map((one) => [one.tool_call_id, one.content]));
  const byTurn = new Map(state.order.map((id) => [id, []]));
  for (const message of state.messages) byTurn.get(message.turn_id).push(message);
  const unread = current ? takeUnread(byTurn.get(current)) : [];
  const shown = state.order.filter((id) => byTurn.get(id).length && !waiting.includes(id));
  const unsent = unsentMessages(state, outbox);
  // Only then the newest turn can be answered again.
  const last = waiting.length || unread.length ? undefined : shown.at(-1);
  const switches = switchItems(state);
  const facts = { state, outbox, results, switches, last: current || unsent.length ? undefined : last };
  const conversation = [...shown.flatMap((id) => turnItems(id, byTurn.get(id), facts)), ...switches()];
  const queue = [...unread, ...waiting.flatMap((id) => byTurn.get(id))].map((message) => waitingItem(message, outbox));
  for (const item of unsent.map((entry) => unsentItem(entry, isOpen))) {
    // Nothing delays it: it is part of the conversation within moments.
    if (!current && !item.note) conversation.push({ ...item, type: "message" });
    else queue.push(item);
  }
  return { conversation, queue, progress: progressOf(state, current), retryAt: state.turns[current]?.retry_at, isAnswering: Boolean(current), again: last && againOf(byTurn.get(last), outbox) };
}

/** Take the messages that the current turn has not read out of its list, unless they are all that it has. */
function takeUnread(messages) {
  const isUnread = (one) => one.steer && !one.read;
  const others = messages.filter((one) => !isUnread(one));
  return others.length ? messages.splice(0, messages.length, ...others).filter(isUnread) : [];
}

function turnItems(id, messages, { state, outbox, results, switches, last }) {
  const end = state.ends[id];
  const isLast = id === last;
  const items = messages.flatMap((message) => [
    ...switches(message),
    ...messageItems(message, end, { state, outbox, results, isLast }),
    ...summaryItems(state.summary, message),
  ]);
  for (const text of Object.values(state.texts)) {
    if (text.turn_id === id) items.push(messageItem({ ...text, role: "assistant", content: text.text, agent: state.agent, mode: state.mode }, { busy: true }));
  }
  // Below the question, which the turn repeats as its answer.
  items.sort((one, other) => (one.type === "suggestions") - (other.type === "suggestions"));
  if (end?.status === "cancelled" && !messages.some((message) => message.interrupted)) {
    items.push({ key: `stop ${id}`, type: "remark", text: STOPPED_TEXT });
  }
  const ending = endItem(id, end, messages, { isLast, outbox });
  return ending ? [...items, ending] : items;
}

/** Return the summary that stands for this message and those before it in what models read. */
function summaryItems(summary, { message_id }) {
  if (summary?.until !== message_id) return [];
  return [{ key: summary.summary_id, type: "summary", text: summary.text, messages: summary.messages }];
}

function messageItems(message, end, { state, outbox, results, isLast }) {
  const calls = message.tool_calls ?? [];
  if (message.tool_call_id) return []; // its card shows it
  const remark = message.interrupted ? (end?.status === "cancelled" ? STOPPED_TEXT : INTERRUPTED_TEXT) : "";
  const texts = message.content || message.reasoning || !calls.length ? [messageItem(message, { remark })] : [];
  return [...texts, ...calls.map((call) => suggestionsItem(call, { isLast }) ?? toolItem(call, message.turn_id, { state, outbox, results }))];
}

function messageItem({ message_id, role, content, subtask_id, steer, reasoning = "", images, agent, mode, model }, more) {
  const label = [LABELS[role] ?? role, subtask_id, steer && t("steered")].filter(Boolean).join(" · ");
  return { key: message_id, type: "message", role, label, text: content, reasoning, images: imageIds(images), time: timeOfId(message_id), agent, mode, model, ...more };
}

function toolItem({ id, name, arguments: args, display, edited = false }, turn, { state, outbox, results }) {
  const plan = state.plans[id];
  // Not the key of a tool: the call may be on the page already, from before it was known to be a plan.
  if (plan) return { ...plan, key: `plan ${id}`, type: "plan", display, isSending: Boolean(outbox.find("plan_decision", { plan_id: plan.plan_id })) };
  const { client_tool: clientTool, requires_approval: approval = false, reason, unknown: isRunAgain = false } = state.calls[id] ?? {};
  const item = { key: `tool ${id}`, type: "tool", id, tool: name, args, display, edited, about: clientTool?.description ?? "", approval: false };
  if (results.has(id)) {
    const result = results.get(id);
    const outcome = state.outcomes[id];
    return { ...item, status: statusOf(result, outcome), result, outcome };
  }
  if (!state.turns[turn]) return { ...item, status: "closed" };
  if (outbox.find("tool_result", { call_id: id }) || outbox.find("hitl_decision", { call_id: id })) return { ...item, status: "sending" };
  return { ...item, status: "waiting", approval, reason, isRunAgain };
}

/** Return how a call ended. The state of a snapshot has only its result. */
function statusOf(result, outcome) {
  if (["rejected", "unknown"].includes(outcome?.status)) return outcome.status;
  if (REJECTIONS.has(result)) return "rejected";
  return result.startsWith("Error: ") ? "failed" : "done";
}

function waitingItem({ message_id, content, images, steer = false }, outbox) {
  const edit = outbox.find("edit_message", { message_id });
  const isLeaving = Boolean(outbox.find("withdraw_message", { message_id }));
  const note = isLeaving ? t("Withdrawing…") : edit ? t("Saving…") : steer ? UNREAD_TEXT : "";
  const text = edit?.frame.content ?? content;
  return { key: message_id, type: "waiting", id: message_id, text, images: imageIds(images), note, canSteer: !steer, isFixed: isLeaving };
}

/** Return messages of this tab that the state lacks. Their acknowledgement may be lost or on its way. */
function unsentMessages(state, outbox) {
  const isShown = ({ frame, after }) =>
    state.messages.some((one) => one.role === "user" && one.number > after && one.content === frame.content);
  return outbox.messages.filter((entry) => entry.refusal || !isShown(entry));
}

function unsentItem({ id, frame, sent, isDelayed, refusal }, isOpen) {
  const note = (refusal && errorText(refusal.code, refusal.text)) ?? (isOpen && !isDelayed ? "" : UNSENT_TEXT);
  // What may have reached the server can only be withdrawn there.
  const canDiscard = Boolean(refusal) || !sent;
  return { key: id, type: "unsent", id, role: "user", label: LABELS.user, text: frame.content, images: frame.images ?? [], note, canDiscard };
}

function progressOf(state, current) {
  if (!current) return "";
  if (state.turns[current].retry_at) return "put-off";
  const isPlanPending = Object.values(state.plans).some((plan) => plan.status === "draft");
  const isAsked = Object.values(state.calls).some((call) => call.requires_approval);
  if (state.turns[current].status === "waiting") return isPlanPending ? "deciding" : isAsked ? "approving" : "waiting";
  return Object.values(state.texts).some((text) => text.turn_id === current) ? "" : "working";
}

function imageIds(images = []) {
  return images.map((image) => image.image_id);
}

/** Return when the id was made: UUIDs of version 7 begin with milliseconds. */
function timeOfId(id) {
  return id[14] === "7" ? parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined;
}
