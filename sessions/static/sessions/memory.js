/**
 * What a tab keeps through a reload: what it has written and the server has not acknowledged, and the state of the
 * session that was open, with its number. Each user has a memory of their own. A browser that keeps nothing is no fault.
 */

// A page of another version may not understand what this one has stored.
const VERSION = 2;

const place = (name) => `codelab.${VERSION}.${document.body.dataset.user}.${name}`;

/** Return {session key: entries}. */
export function outboxes() {
  return read("outboxes") ?? {};
}

export function keepOutbox(key, entries) {
  const { [key]: _, ...others } = outboxes();
  write("outboxes", entries.length ? { ...others, [key]: entries } : others);
}

export function keepState(key, state) {
  write("state", { key, state });
}

/** Return the state that was kept for this session, once, or undefined. */
export function takeState(key) {
  const kept = read("state");
  if (kept?.key !== key) return undefined;
  sessionStorage.removeItem(place("state"));
  return kept.state;
}

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(place(name)));
  } catch {
    return null;
  }
}

function write(name, value) {
  try {
    sessionStorage.setItem(place(name), JSON.stringify(value));
  } catch {
    // No room, or forbidden.
    sessionStorage.removeItem(place(name));
  }
}
