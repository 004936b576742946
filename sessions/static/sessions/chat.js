/** The page around a session: the open session, the message box and the connection. */

import { CLOSE_DELETED, CLOSE_NOT_SIGNED_IN, Session } from "../client/index.js";
import { toolCard, WaitingBar, waitingCalls } from "./approvals/calls.js";
import { developer } from "./approvals/developer.js";
import { Inbox } from "./approvals/inbox.js";
import { Shortcuts } from "./account/shortcuts.js";
import { ComposerBar } from "./composer/bar.js";
import { Composer } from "./composer/composer.js";
import { AgentSwitch, Failure, SignedMessage, Suggestions, TurnEnd } from "./composer/views.js";
import { Following } from "./following.js";
import { errorText, t } from "./language.js";
import { outboxes, saveDraft, saveState, storageOf } from "./memory.js";
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

const MAX_NEW_ITEMS = 40; // of the conversation in one frame, so that a long one is no long task

const find = (id) => document.getElementById(id);
const sessions = new Map(); // connected ones, by key: the open session, and those with messages to send
const newKeys = new Set(); // of sessions that this page has made
let chat = null; // the open session
let isDrawn = true;

const actions = {
  again: ({ id, text, images }) => chat.send(text, { images, replaces: id }),
  rewrite: (target) => composer.rewrite.begin(target),
  edit: (id, text) => chat.edit(id, text),
  hurry: (id, when) => chat.hurry(id, when),
  withdraw(id) {
    chat.withdraw(id);
    composer.focus();
  },
  discard(id) {
    chat.discard(id);
    composer.focus();
  },
  reopen(id, text, images) {
    chat.discard(id);
    composer.add(text, images);
  },
  keepEdit(text) {
    notify(t("This message is already being answered. Your edit is back in the message box."));
    composer.add(text);
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
const composer = new Composer({ session: () => chat, notify, onSent: () => following.follow(true) });
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
    workspace.forget(key);
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
    composer.keepDraft();
    if (!chat.isDeleted) saveState(chat.key, chat.state);
  });
  composer.listen();
  find("tours")?.addEventListener("click", ({ target }) => startTour(target.closest("[data-tour]")?.dataset.tour));
  const shortcuts = new Shortcuts({ "Alt+N": newSession, "Alt+M": () => composer.focus() });
  find("shortcuts").addEventListener("click", () => shortcuts.open());
  find("new-session").addEventListener("click", newSession);
  find("after-deletion").addEventListener("click", () => {
    const text = composer.box.value;
    newSession();
    composer.write(text);
  });
  find("skip").addEventListener("click", (event) => {
    event.preventDefault();
    composer.focus();
  });
  find("sessions-toggle").addEventListener("click", () => showSessions(!document.body.classList.contains("listing")));
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
  composer.focus();
}

function openSession(key) {
  if (chat?.key === key) return;
  const previous = chat;
  composer.rewrite.cancel();
  if (previous) composer.keepDraft();
  notify("");
  find("sign-in").hidden = true;
  find("deleted").hidden = true;
  chat = sessionOf(key);
  workspace.show(chat);
  permalinks.clear();
  bar.clear();
  composer.open(key);
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
    onState(name, code) {
      if (code === CLOSE_DELETED) workspace.forget(key);
      if (session === chat) connectionChanged(name, code);
    },
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
    if (chat.unsent.length) composer.add(chat.unsent.join("\n"));
  }
  if (code !== CLOSE_NOT_SIGNED_IN) return;
  find("sign-in-link").search = new URLSearchParams({ next: `/${location.hash}` });
  find("sign-in").hidden = false;
}

// Writing

/** Have the scripted model play a tour. The orchestrator chooses the agent, as with a real model. */
async function startTour(name) {
  if (!name) return;
  const session = chat;
  await workspace.openDemo();
  await workspace.beforeMessage(session);
  session.send(`/tour ${name}`, { agent: "orchestrator" });
  composer.focus();
}

function showNotice(text, frame) {
  notify(text);
  // A rejected edit must not be lost.
  if (frame.type === "edit_message") composer.add(frame.content);
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
  bar.update(chat.state);
  composer.update(view);
  following.follow();
}

start();
