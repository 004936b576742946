/** Requests to the REST API. What goes wrong has the server's sentence, or says that the server was not reached. */

import { errorText, t } from "../language.js";

export const sessionPath = (key) => `/api/v1/sessions/${encodeURIComponent(key)}`;

/** Return the answer. Rejects with an Error for people, which has a `status` and a `code`. */
export async function request(method, path, body) {
  const options = { method, headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) } };
  const response = await fetch(path, { ...options, body: body && JSON.stringify(body) }).catch(() => null);
  const answer = await response?.json().catch(() => null);
  if (response?.ok && answer) return answer;
  const text = answer?.error ? errorText(answer.error_code, answer.error) : t("The server could not be reached. Try again.");
  throw Object.assign(new Error(text), { status: response?.status ?? 0, code: answer?.error_code ?? "" });
}
