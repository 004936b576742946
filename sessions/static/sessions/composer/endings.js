/** What the page says about who answered, what a turn used, and what can be done next. Pure: plain values in and out. */

import { language, t, tn } from "../language.js";

// What helps after a failure, by its code. Other codes: another try.
const ADVICE = {
  model_rate_limited: t("The provider is busy or a quota is used up. Wait a moment, then try again."),
  model_unavailable: t("The provider did not answer. This usually passes: try again."),
  model_not_authorized: t("The server's key for this model does not work. Trying again will not help: tell the operator."),
  model_out_of_credit: t("The server's account at the provider is empty. Tell the operator."),
  model_context_too_long: t("The message does not fit into the model. Edit it to be shorter."),
  model_refused: t("The provider refused the request. Edit the message and send it again."),
  model_not_found: t("The provider does not know this model. Tell the operator."),
  budget_exhausted: t("A budget is used up. It may renew itself, or the operator can raise it."),
  too_many_steps: t("The task was too large for one turn. Edit the message to ask for less."),
  repeated_calls: t("The model repeated itself. Edit the message to say it in other words."),
  tool_timed_out: t("A tool gave no result within a day. Try again."),
};
const QUESTION_TOOL = "ask_followup_question";

const dollars = new Intl.NumberFormat(language, { style: "currency", currency: "USD", minimumSignificantDigits: 2, maximumSignificantDigits: 3 });
const count = new Intl.NumberFormat(language);

export const tokensText = (number) => tn(number, "{count} token", "{count} tokens");

/** Return a cost for people; zero as such, and tiny costs not as zero. */
export function costText(cost) {
  return Number(cost) === 0 ? "$0" : dollars.format(Number(cost));
}

/** Return what a turn or a session used: tokens in and out, how many were cached, and the cost where it is known. */
export function useText({ input_tokens: input, output_tokens: output, cached_tokens: cached, cost }) {
  const tokens = t("{input} tokens in, {output} out", { input: count.format(input ?? 0), output: count.format(output ?? 0) });
  const parts = [tokens, cached ? t("{count} cached", { count: count.format(cached) }) : "", cost === undefined ? "" : costText(cost)];
  return parts.filter(Boolean).join(" · ");
}

/** Return the message that replaces a turn: the texts and images of its user, and the message that began it. */
export function againOf(messages, outbox) {
  const mine = messages.filter((one) => one.role === "user");
  if (!mine.length) return null;
  const id = mine[0].message_id;
  const images = mine.flatMap((one) => (one.images ?? []).map((image) => image.image_id));
  return { id, text: mine.map((one) => one.content).join("\n\n"), images, isSending: Boolean(outbox.find("user_message", { replaces: id })) };
}

/** Return the item that ends a turn: what it used, why it failed, and for the newest turn how to try again. */
export function endItem(id, end, messages, { isLast, outbox }) {
  if (!end) return null;
  const again = isLast ? againOf(messages, outbox) : null;
  const use = end.input_tokens || end.output_tokens ? useText(end) : "";
  const item = { key: `end ${id}`, use, again };
  if (end.status === "failed") return { ...item, type: "error", text: end.error, code: end.code, advice: ADVICE[end.code] ?? "" };
  return use || again ? { ...item, type: "end" } : null;
}

/** Return the suggestions of a question as an item, null for another call. Only the newest question can be answered. */
export function suggestionsItem({ id, name, arguments: args }, { isLast }) {
  if (name !== QUESTION_TOOL) return null;
  const suggestions = Array.isArray(args?.suggestions) ? args.suggestions.filter((one) => typeof one === "string") : [];
  return { key: `tool ${id}`, type: "suggestions", suggestions: isLast ? suggestions : [] };
}

/** Return what to put before a message: call it with the messages in their order, then without one for the rest. */
export function switchItems(state) {
  const switches = state.switches ?? [];
  let next = 0;
  return (message = { number: Infinity, role: state.messages.length ? "" : "user" }) => {
    const from = next;
    while (next < switches.length && switches[next].number < message.number) next++;
    // Before a user's message it only says that a single agent answers all messages. A routed message comes first.
    const isShown = ({ from_agent: before, by_user: byUser }) => byUser || before !== "orchestrator" || message.role !== "user";
    return switches.slice(from, next).filter(isShown).map(({ number, ...change }) => ({ key: `switch ${number}`, type: "switch", ...change }));
  };
}
