/** Messages of the history, as the page shows those of the state. Pure: plain values in and out. */

import { EMPTY_STATE } from "../../client/state.js";
import { outline } from "../outline.js";

const TURN = "older"; // The history does not say which turn a message belongs to.
const NO_OUTBOX = { messages: [], find: () => undefined };

/** Return the items of messages of the history, oldest first. */
export function olderItems(messages) {
  const state = { ...EMPTY_STATE, order: [TURN], ends: { [TURN]: { status: "completed" } }, messages: messages.map(stateOf) };
  return messages.length ? outline(state, NO_OUTBOX, { isOpen: true }).conversation : [];
}

function stateOf({ id, role, content, tool_call_id, tool_calls, images }) {
  const calls = tool_calls?.map(({ id, function: { name, arguments: args }, ...rest }) => ({ ...rest, id, name, arguments: args }));
  return { message_id: id, turn_id: TURN, role, content, tool_call_id, tool_calls: calls, images };
}
