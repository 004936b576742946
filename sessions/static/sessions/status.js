/** What the page says of the open session: its connection, where its tools run, and what its answer waits for. */

import { CLOSE_DELETED, CLOSE_NOT_SIGNED_IN } from "../client/index.js";
import { secondsText, t } from "./language.js";

const PROGRESS_TEXTS = {
  working: () => t("Working…"),
  waiting: () => t("Waiting for the tool's result."),
  approving: () => t("Waiting for your approval."),
  deciding: () => t("Waiting for your decision on the plan."),
  "put-off": ({ retryAt }) => t("Waiting for the provider, goes on at {time}.", { time: secondsText(new Date(retryAt)) }),
};
const STATE_TEXTS = { connecting: t("Connecting…"), open: t("Connected"), waiting: t("Reconnecting…"), refused: t("Refused") };
const CLOSE_TEXTS = { [CLOSE_NOT_SIGNED_IN]: t("Not signed in"), [CLOSE_DELETED]: t("Deleted") };

const find = (id) => document.getElementById(id);

export function showConnection(name, code) {
  const node = find("connection");
  node.dataset.state = name;
  say(node, CLOSE_TEXTS[code] ?? STATE_TEXTS[name]);
}

/** Show what the answer waits for, if anything. */
export function showProgress(view) {
  const node = find("progress");
  node.hidden = !view.progress;
  node.dataset.kind = view.progress;
  say(node, PROGRESS_TEXTS[view.progress]?.(view) ?? "");
}

/** Show where the client works that runs the tools, if it has said so. */
export function showWorkspace({ name, branch, system, instructions = [] }) {
  const text = [name, branch].filter(Boolean).join(" · ");
  find("workspace").hidden = !text;
  find("workspace-name").textContent = text;
  find("workspace").title = [system, ...instructions].filter(Boolean).join("\n");
}

/** Setting the same text again would make screen readers repeat it. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
