/**
 * What a tab keeps through a reload, per user: frames that the server has not acknowledged, and the state of the open
 * session. The page also works in a browser that stores nothing.
 */

// Pages of another version may not understand the format.
const FORMAT_VERSION = 2;

const storageKey = (name) => `codelab.${FORMAT_VERSION}.${document.body.dataset.user}.${name}`;

/** Return {session key: entries}. */
export function outboxes() {
  return read("outboxes") ?? {};
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
