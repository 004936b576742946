/** The pages of the list that are loaded, as one list. Pure: plain values in and out. */

export const PAGE_SIZE = 50;
// The most that one request may ask for.
export const MAX_SIZE = 1000;

export const EMPTY = Object.freeze({ sessions: [], total: 0 });

/** Put a new first page before the pages behind it, which are in their order still. */
export function withFirstPage({ sessions }, { sessions: first, total }) {
  const isWhole = first.length >= total;
  return { sessions: isWhole ? first : [...first, ...without(sessions, first)], total };
}

/** Add the page behind those that are loaded. */
export function withNextPage({ sessions }, { sessions: next, total }) {
  return { sessions: [...sessions, ...without(next, sessions)], total };
}

/** Return whether sessions may be gone from the pages behind the first: then all of them are to be loaded again. */
export function isStale({ sessions, total }, page) {
  return sessions.length > PAGE_SIZE && page.total !== total;
}

/** Return the items to show: drafts of sessions that do not exist yet, then the sessions. */
export function itemsOf({ sessions }, { current, drafts, query }) {
  const shown = sessions.filter((one) => one.message_count || one.id === current || query);
  const known = new Set(sessions.map((one) => one.id));
  const unborn = query ? [] : Object.entries(drafts).filter(([key, draft]) => draft.isNew && !known.has(key));
  return [
    ...unborn.map(([key, draft]) => ({ key, id: key, title: firstLine(draft.text), isDraft: true, isCurrent: key === current })),
    ...shown.map((one) => ({ ...one, key: one.id, hasDraft: one.id in drafts, isCurrent: one.id === current })),
  ];
}

/** Return the beginning of a text, as the server makes a title of it. */
export function firstLine(text, length = 200) {
  return text.trim().replace(/\s+/g, " ").slice(0, length);
}

function without(sessions, others) {
  const ids = new Set(others.map((one) => one.id));
  return sessions.filter((one) => !ids.has(one.id));
}
