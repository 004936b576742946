/** The page around a session: the open session, the message box and the connection. */

import { CLOSE_DELETED, CLOSE_NOT_SIGNED_IN, Session } from "../client/index.js";
import { toolCard, WaitingBar, waitingCalls } from "./approvals/calls.js";
import { developer } from "./approvals/developer.js";
import { Inbox } from "./approvals/inbox.js";
import { Shortcuts } from "./account/shortcuts.js";
import { Attachments } from "./attachments.js";
import { ComposerBar } from "./composer/bar.js";
import { Rewrite, listenToKeys } from "./composer/rewrite.js";
import { AgentSwitch, Failure, SignedMessage, Suggestions, TurnEnd } from "./composer/views.js";
import { Following } from "./following.js";
import { onKeys } from "./keys.js";
import { errorText, t } from "./language.js";
import { drafts, outboxes, saveDraft, saveState, storageOf } from "./memory.js";
import { rendering } from "./markdown/body.js";
import { outline } from "./outline.js";
import { PlanCard } from "./plancard.js";
import { UnsentMessage, WaitingMessage } from "./queue.js";
import { List, Remark, Summary } from "./render.js";
import { addressOf, parseAddress } from "./sessions/address.js";
import { SessionList } from "./sessions/listing.js";
import { OpenTitle } from "./sessions/title.js";
import { Permalinks } from "./sessions/permalinks.js";
import { showConnection, showProgress, showWorkspace } from "./status.js";
import { workspace } from "./workspace/open.js";
import { WorkspacePanel } from "./workspace/panel.js";

const KEYS_TEXT = t("Enter to send, Shift + Enter for a new line.");
const KEYS_WHILE_ANSWERING_TEXT = t(
  "Enter to send, Shift + Enter for a new line, Alt + Enter to steer the answer, Ctrl + Enter to stop it and send.",
);

const MAX_NEW_ITEMS = 40; // of the conversation in one frame, so that a long one is no long task

const find = (id) => document.getElementById(id);
const box = find("message");
const sessions = new Map(); // connected ones, by key: the open session, and those with messages to send
const newKeys = new Set(); // of sessions that this page has made
let chat = null; // the open session
let lastAgain = null; // the message that ↑ edits
let isDrawn = true;

const actions = {
  again: ({ id, text, images }) => chat.send(text, { images, replaces: id }),
  rewrite: (target) => rewrite.begin(target),
  edit: (id, text) => chat.edit(id, text),
  hurry: (id, when) => chat.hurry(id, when),
  withdraw(id) {
    chat.withdraw(id);
    box.focus();
  },
  discard(id) {
    chat.discard(id);
    box.focus();
  },
  reopen(id, text, images) {
    chat.discard(id);
    putIntoBox(text);
    attachments.addUploads(images);
  },
  keepEdit(text) {
    notify(t("This message is already being answered. Your edit is back in the message box."));
    putIntoBox(text);
  },
};
const VIEWS = {
  message: (item) => new SignedMessage(item, chat.key),
  tool: (item) => toolCard(item, chat, { preview: async (tool, args) => (isWorkspaceOfSession() ? workspace.preview(tool, args) : null) }),
  plan: (item) => new PlanCard(item, ({ decision, modified_subtasks: subtasks, feedback }) => chat.decidePlan(item.plan_id, decision, { subtasks, feedback })),
  error: (item) => new Failure(item, actions),
  end: () => new TurnEnd(actions),
  switch: (item) => new AgentSwitch(item),
  suggestions: (item) => new Suggestions(item, (text) => chat.send(text)),
  remark: (item) => new Remark(item),
  summary: (item) => new Summary(item),
  waiting: (item) => new WaitingMessage(item, chat.key, actions),
  unsent: (item) => new UnsentMessage(item, chat.key, actions),
};
const attachments = new Attachments(find("attachments"), { onChange: boxChanged, onNotice: notify });
const rewrite = new Rewrite({ box, write, addImages: (ids) => attachments.addUploads(ids), takeImages: () => attachments.take() });
const bar = new ComposerBar({ key: () => chat.key, switchAgent: (name) => chat.switchAgent(name), notify });
const log = new List(find("log"), (item) => VIEWS[item.type](item));
const queue = new List(find("queue"), (item) => VIEWS[item.type](item));
const following = new Following({ scroller: find("scroller"), content: find("log"), button: find("newest") });
const waitingBar = new WaitingBar(find("waiting-calls"));
const inbox = new Inbox(find("inbox-toggle"), find("inbox"));
const permalinks = new Permalinks({
  session: () => chat,
  view: (item) => VIEWS[item.type](item),
  onFound: () => following.stop(),
  onNotice: notify,
});
const title = new OpenTitle({ session: () => chat, listed: (key) => listing.titleOf(key) });
const listing = new SessionList({
  current: () => chat?.key,
  onNotice: notify,
  onChange: () => chat && title.show(),
  onDeleted(key) {
    saveDraft(key, { text: "", images: [] });
    if (chat.key === key) newSession();
  },
  onNotSignedIn() {
    chat.close();
    connectionChanged("refused", CLOSE_NOT_SIGNED_IN);
  },
});

function start() {
  addEventListener("hashchange", openFromAddress);
  addEventListener("pagehide", () => {
    keepDraft();
    if (!chat.isDeleted) saveState(chat.key, chat.state);
  });
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    sendMessage();
  });
  onKeys(box, { enter: (event) => sendMessage(event.ctrlKey || event.metaKey ? "interrupt" : event.altKey ? "steer" : "queue") });
  box.addEventListener("input", boxChanged);
  listenToKeys(box, {
    rewriteLast,
    cancelRewrite: () => rewrite.cancel(),
    isAnswering: () => !find("stop").hidden,
    stop: () => chat.cancel(),
  });
  find("add-image").addEventListener("click", () => find("image-files").click());
  find("image-files").addEventListener("change", ({ target }) => {
    attachments.add(target.files);
    target.value = ""; // or the same file could not be chosen again
    box.focus();
  });
  box.addEventListener("paste", (event) => attachments.add(event.clipboardData.files) && event.preventDefault());
  find("composer").addEventListener("dragover", (event) => event.preventDefault());
  find("composer").addEventListener("drop", (event) => {
    event.preventDefault();
    attachments.add(event.dataTransfer.files);
  });
  find("tours")?.addEventListener("click", ({ target }) => startTour(target.closest("[data-tour]")?.dataset.tour));
  const shortcuts = new Shortcuts({ "Alt+N": newSession, "Alt+M": () => box.focus() });
  find("shortcuts").addEventListener("click", () => shortcuts.open());
  find("new-session").addEventListener("click", newSession);
  find("after-deletion").addEventListener("click", () => {
    const text = box.value;
    newSession();
    write(text);
  });
  find("skip").addEventListener("click", (event) => {
    event.preventDefault();
    box.focus();
  });
  find("sessions-toggle").addEventListener("click", () => showSessions(!document.body.classList.contains("listing")));
  find("stop").addEventListener("click", () => {
    chat.cancel();
    box.focus();
  });
  find("interrupt").addEventListener("click", () => sendMessage("interrupt"));
  find("steer").addEventListener("click", () => sendMessage("steer"));
  find("developer").checked = developer.isOn;
  find("developer").addEventListener("change", ({ target }) => developer.set(target.checked));
  developer.onChange(drawSoon);
  // A change of a file changes what the calls that wait would do.
  workspace.onChange(() => log.views.forEach((view) => view.refresh?.()));
  new WorkspacePanel(find("files"), find("files-toggle"), workspace);
  openFromAddress();
  // Messages in other sessions that were not sent before the page was reloaded.
  for (const [key, entries] of Object.entries(outboxes())) {
    if (entries.some((entry) => !entry.refusal)) sessionOf(key);
  }
}

/** Return whether agents were told last of the workspace of this page. The call of another client changes other files. */
function isWorkspaceOfSession() {
  return (chat.state.workspace?.name ?? workspace.name) === workspace.name;
}

// Sessions

function openFromAddress() {
  const { key, message } = parseAddress(location.hash);
  openSession(key || newKey());
  showSessions(false);
  if (message) permalinks.open(message);
}

function newKey() {
  const [day, time] = new Date().toISOString().split("T");
  // Not randomUUID: browsers have it on https and localhost only.
  const random = [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0"));
  const key = `${day}-${time.slice(0, 5).replace(":", "")}-${random.join("")}`;
  newKeys.add(key);
  return key;
}

function newSession() {
  openSession(newKey());
  box.focus();
}

function openSession(key) {
  if (chat?.key === key) return;
  const previous = chat;
  rewrite.cancel();
  if (previous) keepDraft();
  notify("");
  find("sign-in").hidden = true;
  find("deleted").hidden = true;
  chat = sessionOf(key);
  workspace.show(chat);
  attachments.reset(key);
  permalinks.clear();
  bar.clear();
  const draft = drafts()[key];
  box.value = draft?.text ?? "";
  if (draft) attachments.addUploads(draft.images);
  if (previous) closeIfDone(previous);
  // No new history entry: "back" leaves the page instead of going through new sessions.
  if (parseAddress(location.hash).key !== key) history.replaceState(null, "", addressOf(key));
  log.clear();
  queue.clear();
  connectionChanged(chat.connectionState ?? "connecting");
  showSessions(false);
  draw();
  following.follow(true);
  listing.refresh();
}

function sessionOf(key) {
  if (sessions.has(key)) return sessions.get(key);
  const session = new Session(key, {
    storage: storageOf(key),
    plans: true,
    fromStart: true,
    lazy: true,
    keepRefused: true,
    clientId: workspace.clientId,
    onChange: () => (session === chat ? drawSoon() : closeIfDone(session)),
    onEvent(event) {
      listing.handleEvent(event);
      title.handleEvent(key, event);
      inbox.handleEvent(event);
    },
    onNotice: (text, frame, code) => session === chat && showNotice(errorText(code, text), frame),
    onState: (name, code) => session === chat && connectionChanged(name, code),
  });
  sessions.set(key, session);
  workspace.attach(session, { isNew: newKeys.has(key) }).finally(() => sessions.get(key) === session && session.start());
  return session;
}

/** Disconnect from a session that is not open, once all its messages are sent. */
function closeIfDone(session) {
  if (session === chat || !session.outbox.isDone) return;
  session.close();
  workspace.detach(session);
  sessions.delete(session.key);
}

function showSessions(isOpen) {
  document.body.classList.toggle("listing", isOpen);
  find("sessions-toggle").setAttribute("aria-expanded", isOpen);
}

// The connection

function connectionChanged(name, code) {
  rendering.setConnected(name === "open");
  showConnection(name, code);
  if (code === CLOSE_DELETED) {
    find("deleted").hidden = false;
    if (chat.unsent.length) putIntoBox(chat.unsent.join("\n"));
  }
  if (code !== CLOSE_NOT_SIGNED_IN) return;
  find("sign-in-link").search = new URLSearchParams({ next: `/${location.hash}` });
  find("sign-in").hidden = false;
}

// Writing

function sendMessage(when = "queue") {
  const text = box.value;
  if (!text.trim() || !find("sign-in").hidden || chat.isDeleted || attachments.isUploading) return;
  notify("");
  const images = attachments.take();
  workspace.beforeMessage(chat);
  const isAnswering = find("composer").classList.contains("answering");
  const { id: replaces, ...draft } = rewrite.take();
  // What is edited is the message that is being answered.
  chat.send(text, { images, replaces, when: isAnswering ? (replaces ? "interrupt" : when) : "queue" });
  // What stood there before an old message was edited.
  write(draft.text);
  attachments.addUploads(draft.images);
  keepDraft();
  following.follow(true);
}

/** Have the scripted model play a tour. The orchestrator chooses the agent, as with a real model. */
async function startTour(name) {
  if (!name) return;
  const session = chat;
  await workspace.openDemo();
  await workspace.beforeMessage(session);
  session.send(`/tour ${name}`, { agent: "orchestrator" });
  box.focus();
}

/** Keep what stands in the box with its session, through a reload and while another one is open. */
function keepDraft() {
  if (!chat.isDeleted) saveDraft(chat.key, { text: box.value, images: attachments.ids, isNew: !chat.state.number });
}

function write(text) {
  box.value = text;
  boxChanged();
  box.focus();
}

function boxChanged() {
  // Not a height: the Content-Security-Policy allows no inline styles.
  box.rows = Math.min(box.value.split("\n").length, 8);
  box.placeholder = attachments.ids.length ? t("Say what to do with it") : t("Write a message");
  find("send").disabled = attachments.isUploading;
  find("interrupt").hidden = find("steer").hidden = !box.value.trim() || !find("composer").classList.contains("answering");
}

/** Edit the newest message that waits, or else the newest one that was answered. Return whether there is one. */
function rewriteLast() {
  const waiting = find("queue").lastElementChild?.querySelector(".buttons:not([hidden]) button");
  if (waiting) waiting.click();
  else if (lastAgain && !lastAgain.isSending) rewrite.begin(lastAgain);
  return Boolean(waiting ?? lastAgain);
}

function showNotice(text, frame) {
  notify(text);
  // A rejected edit must not be lost.
  if (frame.type === "edit_message") putIntoBox(frame.content);
}

function putIntoBox(text) {
  write(box.value.trim() ? `${box.value}\n${text}` : text);
}

function notify(text) {
  find("notice").textContent = text;
  find("notice").hidden = !text;
}

// Drawing

function drawSoon() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(draw);
}

function draw() {
  isDrawn = true;
  const view = outline(chat.state, chat.outbox, { isOpen: chat.isOpen });
  if (!log.show(view.conversation, { maxNew: MAX_NEW_ITEMS })) drawSoon();
  queue.show(view.queue);
  waitingBar.update(waitingCalls(view.conversation), chat);
  find("waiting").hidden = view.queue.length === 0;
  find("welcome").hidden = view.conversation.length + view.queue.length > 0;
  permalinks.draw();
  // A session without a message has no events.
  showWorkspace(chat.state.workspace ?? { name: workspace.name });
  showProgress(view);
  lastAgain = view.again;
  bar.update(chat.state);
  find("stop").hidden = !view.isAnswering;
  find("send").textContent = view.isAnswering ? t("Queue") : t("Send");
  find("composer").classList.toggle("answering", view.isAnswering);
  find("keys").textContent = view.isAnswering ? KEYS_WHILE_ANSWERING_TEXT : KEYS_TEXT;
  boxChanged();
  following.follow();
}

start();
