/** Which workspace each session has in this browser, and which one the next session gets. */

import { developer } from "../approvals/developer.js";

const LAST = "codelab.workspace.last";
const MAX_SESSIONS = 300;

/** A session without files: the agents get no tools that need some. */
export const NONE = "none";
/** A copy of the demo project for each session. */
export const DEMO = "demo";

const ofUser = (name) => `codelab.workspace.${document.body.dataset.user}.${name}`;

/** Return the id of a session's workspace, NONE, or undefined where this browser has not chosen. */
export function choiceOf(session) {
  const choices = read(ofUser("sessions")) ?? {};
  // A session may be named like something that every object has.
  return Object.hasOwn(choices, session) ? choices[session] : undefined;
}

export function remember(session, choice) {
  const { [session]: _, ...others } = read(ofUser("sessions")) ?? {};
  write(ofUser("sessions"), Object.fromEntries([...Object.entries(others), [session, choice]].slice(-MAX_SESSIONS)));
}

/** Forget a session that was deleted. Return the id of its workspace, if this browser has chosen one. */
export function forget(session) {
  const { [session]: choice, ...others } = read(ofUser("sessions")) ?? {};
  if (choice) write(ofUser("sessions"), others);
  return choice;
}

/** Return whether a session of this user has a workspace. */
export function isChosen(id) {
  return Object.values(read(ofUser("sessions")) ?? {}).includes(id);
}

/** Return whether the id of a workspace is one of this user's. */
export function isMine(id) {
  return ["upload", "folder", DEMO].some((kind) => id.startsWith(newId(kind, "")));
}

/** Return what the person chose last: DEMO, NONE, or the id of a folder. */
export function lastChoice() {
  return read(LAST) ?? DEMO;
}

export function rememberLast(choice) {
  write(LAST, choice);
}

/** Return the id of a new workspace of this user. */
export function newId(kind, name) {
  return `${kind} ${document.body.dataset.user} ${name}`;
}

/** Return the name of this browser as a client: the same after a reload and in all tabs, so that calls come back to it. */
export function clientId() {
  const known = read(ofUser("client"));
  if (known) return known;
  const random = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0"));
  const id = `page-${random.join("")}`;
  write(ofUser("client"), id);
  return id;
}

/** Return whether a developer answers tool calls by hand, where no workspace runs them. */
export function isAnsweredByHand() {
  return developer.isOn;
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? undefined;
  } catch {
    return undefined; // forbidden, or not ours
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: the choice lasts as long as the tab.
  }
}
