/**
 * What a tab keeps through a reload, per user: frames that the server has not acknowledged, and the state of the open
 * session. The page also works in a browser that stores nothing.
 */

// Pages of another version may not understand the format.
const FORMAT_VERSION = 2;

const storageKey = (name) => `codelab.${FORMAT_VERSION}.${document.body.dataset.user}.${name}`;

/** Return {session key: entries}. A session may be named like something that every object has. */
export function outboxes() {
  return withoutPrototype(read("outboxes"));
}

function saveOutbox(key, entries) {
  const { [key]: _, ...others } = outboxes();
  write("outboxes", entries.length ? { ...others, [key]: entries } : others);
}

/** Return what a session of the client keeps. */
export function storageOf(key) {
  return {
    takeState: () => takeState(key),
    entries: () => outboxes()[key] ?? [],
    saveEntries: (entries) => saveOutbox(key, entries),
  };
}

export function saveState(key, state) {
  write("state", { key, state });
}

/** Return the saved state of this session and delete it, or return undefined. */
function takeState(key) {
  const entry = read("state");
  if (entry?.key !== key) return undefined;
  sessionStorage.removeItem(storageKey("state"));
  return entry.state;
}

function withoutPrototype(record) {
  return Object.assign(Object.create(null), record);
}

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(storageKey(name)));
  } catch {
    return null;
  }
}

function write(name, value) {
  try {
    sessionStorage.setItem(storageKey(name), JSON.stringify(value));
  } catch {
    // Full or forbidden.
    sessionStorage.removeItem(storageKey(name));
  }
}

// Of sessions; the oldest ones go first. Larger ones would not leave room for what is not sent.
const MAX_DRAFTS = 30;
const MAX_DRAFTS_CHARACTERS = 1_000_000;

/** Return what stands in the box of each session: {key: {text, images, isNew}}. */
export function drafts() {
  return withoutPrototype(read("drafts"));
}

/** Keep what stands in the box of a session. `isNew`: the session does not exist yet. */
export function saveDraft(key, draft) {
  const { [key]: _, ...others } = drafts();
  const entries = Object.entries(others);
  if (draft.text.trim() || draft.images.length) entries.push([key, draft]);
  const size = () => entries.reduce((sum, [, { text }]) => sum + text.length, 0);
  while (entries.length > MAX_DRAFTS || (entries.length > 1 && size() > MAX_DRAFTS_CHARACTERS)) entries.shift();
  write("drafts", Object.fromEntries(entries));
}
