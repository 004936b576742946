/** The page around a conversation: which session is open, the box to write in, and how the connection is. */

import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { element } from "./render.js";

const PROGRESS = {
  working: "Working…",
  waiting: "Waiting for the result of the tool.",
  unanswered: "This message has no answer yet.",
};
// How long after a socket opened the history is read once more when it lacks an answer: the answer may have come in
// the moment between reading and listening.
const SECOND_LOOK = 3000;

const NOT_SIGNED_IN = 4401;

const find = (id) => document.getElementById(id);
const box = find("message");
const scroller = find("scroller");
let chat = null; // the open session: key, isNew, conversation, connection
let atBottom = true;
let lastTop = 0;
let scrollPlanned = false;

function start() {
  addEventListener("hashchange", openFromAddress);
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    sendMessage();
  });
  box.addEventListener("keydown", (event) => {
    // Enter that ends the composition of a word, as in Japanese, is not meant for us.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendMessage();
  });
  box.addEventListener("input", fitBox);
  find("scripts")?.addEventListener("click", ({ target }) => target.dataset.script && write(target.dataset.script));
  find("new-session").addEventListener("click", newSession);
  find("skip").addEventListener("click", (event) => {
    event.preventDefault();
    box.focus();
  });
  find("sessions-toggle").addEventListener("click", () => showSessions(!document.body.classList.contains("listing")));
  find("newest").addEventListener("click", () => follow(true));
  find("stop").addEventListener("click", () => sendFrame(chat, { type: "cancel" }));
  scroller.addEventListener("scroll", noteScroll, { passive: true });
  new ResizeObserver(() => follow()).observe(scroller);
  openFromAddress();
}

// Sessions

function openFromAddress() {
  const key = keyInAddress();
  if (key) openSession(key, false);
  else openSession(newKey(), true);
}

function keyInAddress() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone percent sign, typed by hand
  }
}

function newKey() {
  const [day, time] = new Date().toISOString().split("T");
  // Not randomUUID: browsers have it on https and localhost only.
  const random = [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${day}-${time.slice(0, 5).replace(":", "")}-${random.join("")}`;
}

function newSession() {
  openSession(newKey(), true);
  box.focus();
}

function openSession(key, isNew) {
  if (chat?.key === key) return;
  chat?.connection.close();
  notify("");
  find("sign-in").hidden = true;
  const mine = { key, isNew };
  chat = mine;
  // Set without adding an entry or an event for it: "back" leaves the page instead of walking through new sessions.
  if (isNew) history.replaceState(null, "", `#${encodeURIComponent(key)}`);
  mine.conversation = new Conversation(find("log"), {
    send: (frame) => sendFrame(mine, frame),
    loadHistory: () => loadHistory(mine, false),
    putBack: (text, { onlyIfEmpty } = {}) => (onlyIfEmpty && box.value) || write(text),
    onChange: () => mine === chat && showProgress(),
  });
  mine.connection = new Connection(key, {
    onState: (state) => mine === chat && connectionChanged(mine, state),
    onFrame: (frame) => mine === chat && takeFrame(mine, frame),
  });
  showSessions(false);
  showProgress();
  follow(true);
  listSessions();
}

function takeFrame(mine, frame) {
  mine.conversation.frame(frame);
  if (frame.is_final) listSessions();
}

async function listSessions() {
  const { status, body } = await get("/api/v1/sessions?limit=50");
  // The socket tells it too, but not while the server cannot look up who it is.
  if (status === 401) {
    chat.connection.close();
    connectionChanged(chat, { name: "refused", code: NOT_SIGNED_IN });
  }
  const sessions = body?.sessions ?? [];
  const used = sessions.filter((one) => one.message_count || one.id === chat.key);
  find("session-list").replaceChildren(...used.map(sessionItem));
  find("no-sessions").hidden = used.length > 0;
}

function sessionItem(session) {
  const when = new Date(session.last_activity);
  const isToday = when.toDateString() === new Date().toDateString();
  const shown = isToday ? when.toLocaleTimeString([], { timeStyle: "short" }) : when.toLocaleDateString();
  const count = session.message_count === 1 ? "1 message" : `${session.message_count} messages`;
  const name = element("span", { class: "name", dir: "auto" }, session.title || session.id);
  const link = element("a", { href: `#${encodeURIComponent(session.id)}` }, name, element("small", {}, `${count} · ${shown}`));
  if (session.id === chat.key) link.setAttribute("aria-current", "page");
  return element("li", {}, link);
}

function showSessions(shown) {
  document.body.classList.toggle("listing", shown);
  find("sessions-toggle").setAttribute("aria-expanded", shown);
}

// The connection and the history

function connectionChanged(mine, state) {
  const texts = {
    connecting: "Connecting…",
    open: "Connected",
    waiting: `Reconnecting in ${state.seconds} s`,
    refused: state.code === NOT_SIGNED_IN ? "Not signed in" : "Refused",
  };
  const status = find("connection");
  status.dataset.state = state.name;
  status.textContent = texts[state.name];
  if (state.name === "open") opened(mine);
  if (state.code === NOT_SIGNED_IN) {
    find("sign-in-link").search = new URLSearchParams({ next: `/${location.hash}` });
    find("sign-in").hidden = false;
  }
}

async function opened(mine) {
  notify("");
  // A session that this page has just thought of has no history to ask for, unless its socket breaks.
  if (!mine.isNew) {
    await loadHistory(mine, true);
    setTimeout(() => mine === chat && mine.conversation.unanswered && loadHistory(mine, false), SECOND_LOOK);
  }
  mine.isNew = false;
}

async function loadHistory(mine, afterGap) {
  mine.conversation.hold();
  const { status, body } = await get(`/api/v1/sessions/${encodeURIComponent(mine.key)}/history`);
  if (mine !== chat) return;
  if (status === 200) mine.conversation.load(body.messages, { afterGap });
  else if (status === 404 && body?.error_code === "session_not_found") mine.conversation.load([], { afterGap });
  else {
    mine.conversation.release();
    if (status !== 401) retryHistory(mine, afterGap);
  }
  follow();
}

function retryHistory(mine, afterGap) {
  notify("The history could not be loaded; trying again…");
  const again = async () => {
    if (mine !== chat || find("connection").dataset.state !== "open") return;
    notify("");
    await loadHistory(mine, afterGap);
  };
  setTimeout(again, SECOND_LOOK);
}

async function get(path) {
  try {
    const response = await fetch(path, { headers: { Accept: "application/json" } });
    const isJson = response.headers.get("Content-Type")?.includes("json");
    return { status: response.status, body: isJson ? await response.json() : null };
  } catch {
    return { status: 0, body: null };
  }
}

// Writing

function sendMessage() {
  const text = box.value;
  if (!text.trim() || !chat.conversation.say(text)) return;
  write("");
  follow(true);
}

function sendFrame(mine, frame) {
  const sent = mine.connection.send(frame);
  notify(sent ? "" : "There is no connection at the moment, so nothing was sent. Your text stays here.");
  return sent;
}

function write(text) {
  box.value = text;
  fitBox();
  box.focus();
}

function fitBox() {
  // `rows` and not a height: the policy of this page allows no inline styles.
  box.rows = Math.min(box.value.split("\n").length, 8);
}

function notify(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

function showProgress() {
  const { conversation } = chat;
  find("welcome").hidden = !conversation.isEmpty;
  const line = find("progress");
  line.hidden = !conversation.progress;
  line.dataset.kind = conversation.progress;
  find("stop").hidden = !conversation.canStop;
  // Setting the same text again would be read out again.
  const text = PROGRESS[conversation.progress] ?? "";
  if (line.textContent !== text) line.textContent = text;
  follow();
}

// Scrolling along, but only for those who are at the end

function follow(force = false) {
  atBottom ||= force;
  if (scrollPlanned) return;
  scrollPlanned = true;
  requestAnimationFrame(() => {
    scrollPlanned = false;
    if (atBottom) scroller.scrollTop = scroller.scrollHeight;
    find("newest").hidden = atBottom;
  });
}

function noteScroll() {
  const isNear = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  // Only a person scrolls up. Text that came in since the last frame makes the end far away too.
  if (isNear || scroller.scrollTop < lastTop) atBottom = isNear;
  lastTop = scroller.scrollTop;
  find("newest").hidden = atBottom;
}

start();
