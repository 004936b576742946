/** The page around a session: which one is open, the box to write in, and how the connection is. */

import { DELETED } from "./connection.js";
import { Listing } from "./listing.js";
import { keepState, outboxes } from "./memory.js";
import { outline } from "./outline.js";
import { Pictures } from "./pictures.js";
import { PlanCard } from "./plancard.js";
import { UnsentMessage, WaitingMessage } from "./queue.js";
import { ErrorCard, List, Message, Remark } from "./render.js";
import { Session } from "./session.js";
import { ToolCard } from "./toolcard.js";

const PROGRESS = {
  working: "Working…",
  waiting: "Waiting for the result of the tool.",
  deciding: "Waiting for your answer to the plan.",
};
const CONNECTION = { connecting: "Connecting…", open: "Connected", waiting: "Reconnecting…", refused: "Refused" };
const REFUSALS = { 4401: "Not signed in", [DELETED]: "Deleted" };
const NOT_SIGNED_IN = 4401;
const KEYS = "Enter sends, Shift + Enter makes a new line.";
const KEYS_WHILE_ANSWERING = "Enter sends, Shift + Enter makes a new line, Ctrl + Enter stops the answer and sends.";

const find = (id) => document.getElementById(id);
const box = find("message");
const scroller = find("scroller");
const open = new Map(); // sessions with a connection, by key: the one that is shown, and those with messages to send
let chat = null; // the session that is shown
let isDrawn = true;
let atBottom = true;
let lastTop = 0;

const actions = {
  edit: (id, text) => chat.edit(id, text),
  answerNow: (id) => chat.answerNow(id),
  withdraw(id) {
    chat.withdraw(id);
    box.focus();
  },
  discard(id) {
    chat.discard(id);
    box.focus();
  },
  takeBack(id, text, images) {
    chat.discard(id);
    rescue(text);
    pictures.put(images);
  },
  rescue(text) {
    notify("This message waits no longer. What you wrote stands in the box.");
    rescue(text);
  },
};
const VIEWS = {
  message: (item) => new Message(item, chat.key),
  tool: (item) => new ToolCard(item, (fields) => chat.answer(item.id, fields)),
  plan: (item) => new PlanCard(item, (fields) => chat.decide(item.plan_id, fields)),
  error: (item) => new ErrorCard(item),
  remark: (item) => new Remark(item),
  waiting: (item) => new WaitingMessage(item, chat.key, actions),
  unsent: (item) => new UnsentMessage(item, chat.key, actions),
};
const pictures = new Pictures(find("pictures"), { onChange: boxChanged, onNotice: notify });
const log = new List(find("log"), (item) => VIEWS[item.type](item));
const queue = new List(find("queue"), (item) => VIEWS[item.type](item));
const listing = new Listing(find("session-list"), find("no-sessions"), {
  current: () => chat.key,
  onNotSignedIn() {
    chat.close();
    connectionChanged("refused", NOT_SIGNED_IN);
  },
});

function start() {
  addEventListener("hashchange", openFromAddress);
  addEventListener("pagehide", () => chat.isDeleted || keepState(chat.key, chat.state));
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    sendMessage();
  });
  box.addEventListener("keydown", (event) => {
    // Enter that ends the composition of a word, as in Japanese, is not meant for us.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendMessage({ interrupt: event.ctrlKey || event.metaKey });
  });
  box.addEventListener("input", boxChanged);
  find("add-picture").addEventListener("click", () => find("picture-files").click());
  find("picture-files").addEventListener("change", ({ target }) => {
    pictures.add(target.files);
    target.value = ""; // so that the same file can be chosen again
    box.focus();
  });
  box.addEventListener("paste", (event) => pictures.add(event.clipboardData.files) && event.preventDefault());
  find("composer").addEventListener("dragover", (event) => event.preventDefault());
  find("composer").addEventListener("drop", (event) => {
    event.preventDefault();
    pictures.add(event.dataTransfer.files);
  });
  find("scripts")?.addEventListener("click", ({ target }) => target.dataset.script && write(target.dataset.script));
  find("new-session").addEventListener("click", newSession);
  find("after-deletion").addEventListener("click", newSession);
  find("skip").addEventListener("click", (event) => {
    event.preventDefault();
    box.focus();
  });
  find("sessions-toggle").addEventListener("click", () => showSessions(!document.body.classList.contains("listing")));
  find("newest").addEventListener("click", () => follow(true));
  find("stop").addEventListener("click", () => {
    chat.stop();
    box.focus();
  });
  find("interrupt").addEventListener("click", () => sendMessage({ interrupt: true }));
  scroller.addEventListener("scroll", noteScroll, { passive: true });
  new ResizeObserver(() => follow()).observe(scroller);
  openFromAddress();
  // What was written in other sessions before this page was loaded again, and is still to be sent.
  for (const [key, entries] of Object.entries(outboxes())) {
    if (entries.some((entry) => !entry.refusal)) sessionOf(key).start();
  }
}

// Sessions

function openFromAddress() {
  openSession(keyInAddress() || newKey());
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
  openSession(newKey());
  box.focus();
}

function openSession(key) {
  if (chat?.key === key) return;
  const left = chat;
  notify("");
  find("sign-in").hidden = true;
  find("deleted").hidden = true;
  chat = sessionOf(key);
  chat.start();
  pictures.show(key);
  if (left) closeIfDone(left);
  // Set without adding an entry or an event for it: "back" leaves the page instead of walking through new sessions.
  if (keyInAddress() !== key) history.replaceState(null, "", `#${encodeURIComponent(key)}`);
  log.clear();
  queue.clear();
  connectionChanged(chat.connectionState);
  showSessions(false);
  draw();
  follow(true);
  listing.look();
}

function sessionOf(key) {
  if (open.has(key)) return open.get(key);
  const session = new Session(key, {
    onChange: () => (session === chat ? drawSoon() : closeIfDone(session)),
    onEvent: (event) => listing.happened(event),
    onNotice: (text, frame) => session === chat && notice(text, frame),
    onState: (name, code) => session === chat && connectionChanged(name, code),
  });
  open.set(key, session);
  return session;
}

/** A session that is not shown is left when all that was written in it has been taken. */
function closeIfDone(session) {
  if (session === chat || !session.outbox.isDone) return;
  session.close();
  open.delete(session.key);
}

function showSessions(shown) {
  document.body.classList.toggle("listing", shown);
  find("sessions-toggle").setAttribute("aria-expanded", shown);
}

// The connection

function connectionChanged(name, code) {
  const status = find("connection");
  status.dataset.state = name;
  const text = REFUSALS[code] ?? CONNECTION[name];
  if (status.textContent !== text) status.textContent = text;
  if (code === DELETED) {
    find("deleted").hidden = false;
    if (chat.unsent.length) rescue(chat.unsent.join("\n"));
  }
  if (code !== NOT_SIGNED_IN) return;
  find("sign-in-link").search = new URLSearchParams({ next: `/${location.hash}` });
  find("sign-in").hidden = false;
}

// Writing

function sendMessage({ interrupt = false } = {}) {
  const text = box.value;
  if (!text.trim() || !find("sign-in").hidden || chat.isDeleted || pictures.isUploading) return;
  notify("");
  const images = pictures.take();
  chat.say(text, { images, interrupt: interrupt && find("composer").classList.contains("answering") });
  write("");
  follow(true);
}

function write(text) {
  box.value = text;
  boxChanged();
  box.focus();
}

function boxChanged() {
  // `rows` and not a height: the policy of this page allows no inline styles.
  box.rows = Math.min(box.value.split("\n").length, 8);
  box.placeholder = pictures.ids.length ? "Say what is to be done with it" : "Write a message";
  find("send").disabled = pictures.isUploading;
  find("interrupt").hidden = !box.value.trim() || !find("composer").classList.contains("answering");
}

function notice(text, frame) {
  notify(text);
  // What was written must not be lost with the message that it was to change.
  if (frame.type === "edit_message") rescue(frame.content);
}

function rescue(text) {
  write(box.value.trim() ? `${box.value}\n${text}` : text);
}

function notify(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

// What the session looks like

function drawSoon() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(draw);
}

function draw() {
  isDrawn = true;
  const shown = outline(chat.state, chat.outbox, { isOpen: chat.isOpen });
  log.show(shown.conversation);
  queue.show(shown.queue);
  find("waiting").hidden = shown.queue.length === 0;
  find("welcome").hidden = shown.conversation.length + shown.queue.length > 0;
  find("older").hidden = !chat.state.olderMessages;
  const line = find("progress");
  line.hidden = !shown.progress;
  line.dataset.kind = shown.progress;
  // Setting the same text again would be read out again.
  const text = PROGRESS[shown.progress] ?? "";
  if (line.textContent !== text) line.textContent = text;
  find("stop").hidden = !shown.isAnswering;
  find("composer").classList.toggle("answering", shown.isAnswering);
  find("keys").textContent = shown.isAnswering ? KEYS_WHILE_ANSWERING : KEYS;
  boxChanged();
  follow();
}

// Scrolling along, but only for those who are at the end

function follow(force = false) {
  atBottom ||= force;
  if (atBottom) scroller.scrollTop = scroller.scrollHeight;
  find("newest").hidden = atBottom;
}

function noteScroll() {
  const isNear = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
  // Only a person scrolls up. Text that came in since the last frame makes the end far away too.
  if (isNear || scroller.scrollTop < lastTop) atBottom = isNear;
  lastTop = scroller.scrollTop;
  find("newest").hidden = atBottom;
}

start();
