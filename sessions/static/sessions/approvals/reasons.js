/** Why a call waits, in the page's language where it is one of the policy's sentences (agents/policy.py). */

import { t } from "../language.js";

const SENTENCES = {
  "File modification requires user approval.": () => t("File modification requires user approval."),
  "Command execution requires user approval.": () => t("Command execution requires user approval."),
  "The client asks about each call of this tool.": () => t("The client asks about each call of this tool."),
  "The client has not said what this tool can do.": () => t("The client has not said what this tool can do."),
};
const OPAQUE = "This command always requires user approval, because ";

/** Return the reason; what follows the sentence stays in the server's words. */
export function reasonText(reason) {
  if (reason.startsWith(OPAQUE)) return t("This command always requires user approval, because {reason}", { reason: reason.slice(OPAQUE.length) });
  const known = Object.keys(SENTENCES).find((sentence) => reason.startsWith(sentence));
  return known ? SENTENCES[known]() + reason.slice(known.length) : reason;
}
