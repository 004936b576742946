/** Requests of the list of sessions to the REST API. */

import { errorText } from "../language.js";

const path = (key, rest = "") => `/api/v1/sessions/${encodeURIComponent(key)}${rest}`;

/** Return a page of the list. */
export function getSessions({ query, limit, offset }) {
  return request(`/api/v1/sessions?${new URLSearchParams({ limit, offset, ...(query && { query }) })}`);
}

/** Change the title or the pin of a session. */
export function changeSession(key, change) {
  return request(path(key), { method: "PATCH", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change) });
}

export function deleteSession(key) {
  return request(path(key), { method: "DELETE" });
}

/** Return the messages before one, the newest ones of them, oldest first. */
export function getHistory(key, { before, limit }) {
  return request(path(key, `/history?${new URLSearchParams({ before, limit })}`));
}

/** Return what an answer without success says; `otherwise` where it says nothing. */
export function problemText(body, otherwise) {
  return body?.error ? errorText(body.error_code, body.error) : otherwise;
}

export const exportUrl = (key, format) => path(key, `/export?format=${format}`);

/** Return {status, body}. The status is 0 when the server was not reached. */
async function request(url, options = {}) {
  try {
    const response = await fetch(url, { ...options, headers: { Accept: "application/json", ...options.headers } });
    const isJson = response.headers.get("Content-Type")?.includes("json");
    return { status: response.status, body: isJson ? await response.json() : null };
  } catch {
    return { status: 0, body: null };
  }
}
