/** Requests to the REST API from the page for the account, and the errors that it shows. */

import { errorText, t } from "../language.js";

const STATUS_UNAUTHORIZED = 401;

/** A request that the server has refused, with a sentence for people. */
export class Refusal extends Error {
  constructor(text, { isNotSignedIn = false } = {}) {
    super(text);
    this.isNotSignedIn = isNotSignedIn;
  }
}

/** Return the answer to a request below /api/v1. Rejects with a Refusal. */
export async function api(path, { method = "GET", body } = {}) {
  let response;
  let answer;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
    answer = await response.json();
  } catch {
    throw new Refusal(t("The server cannot be reached. Try again."));
  }
  if (response.ok) return answer;
  throw new Refusal(errorText(answer.error_code, answer.error), { isNotSignedIn: response.status === STATUS_UNAUTHORIZED });
}
