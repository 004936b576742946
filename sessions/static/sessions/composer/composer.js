/** The message box of the open session: what is written, its images, its draft, and how it is sent. */

import { Attachments } from "../attachments.js";
import { onKeys } from "../keys.js";
import { t } from "../language.js";
import { drafts, saveDraft } from "../memory.js";
import { workspace } from "../workspace/open.js";
import { Rewrite, listenToKeys } from "./rewrite.js";

const KEYS_TEXT = t("Enter to send, Shift + Enter for a new line.");
const KEYS_WHILE_ANSWERING_TEXT = t(
  "Enter to send, Shift + Enter for a new line, Alt + Enter to steer the answer, Ctrl + Enter to stop it and send.",
);
const MAX_ROWS = 8;

const find = (id) => document.getElementById(id);

export class Composer {
  #session;
  #notify;
  #onSent;
  #again = null; // the message that ↑ edits
  #isAnswering = false;

  /** `session()` is the open one; `notify(text)` shows a problem; `onSent()` follows each message. */
  constructor({ session, notify, onSent }) {
    this.#session = session;
    this.#notify = notify;
    this.#onSent = onSent;
    this.box = find("message");
    this.attachments = new Attachments(find("attachments"), { onChange: () => this.#changed(), onNotice: notify });
    this.rewrite = new Rewrite({
      box: this.box,
      write: (text) => this.write(text),
      addImages: (ids) => this.attachments.addUploads(ids),
      takeImages: () => this.attachments.take(),
    });
  }

  listen() {
    const form = find("composer");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    onKeys(this.box, { enter: (event) => this.send(event.ctrlKey || event.metaKey ? "interrupt" : event.altKey ? "steer" : "queue") });
    this.box.addEventListener("input", () => this.#changed());
    listenToKeys(this.box, {
      rewriteLast: () => this.#rewriteLast(),
      cancelRewrite: () => this.rewrite.cancel(),
      isAnswering: () => !find("stop").hidden,
      stop: () => this.#session().cancel(),
    });
    find("add-image").addEventListener("click", () => find("image-files").click());
    find("image-files").addEventListener("change", ({ target }) => {
      this.attachments.add(target.files);
      target.value = ""; // or the same file could not be chosen again
      this.focus();
    });
    this.box.addEventListener("paste", (event) => this.attachments.add(event.clipboardData.files) && event.preventDefault());
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      this.attachments.add(event.dataTransfer.files);
    });
    find("stop").addEventListener("click", () => {
      this.#session().cancel();
      this.focus();
    });
    find("interrupt").addEventListener("click", () => this.send("interrupt"));
    find("steer").addEventListener("click", () => this.send("steer"));
  }

  focus() {
    this.box.focus();
  }

  /** Another session is open: show its draft. */
  open(key) {
    this.attachments.reset(key);
    const draft = drafts()[key];
    this.box.value = draft?.text ?? "";
    if (draft) this.attachments.addUploads(draft.images);
  }

  /** Keep what stands in the box with its session, through a reload and while another one is open. */
  keepDraft() {
    const { key, isDeleted, state } = this.#session();
    if (!isDeleted) saveDraft(key, { text: this.box.value, images: this.attachments.ids, isNew: !state.number });
  }

  send(when = "queue") {
    const session = this.#session();
    const text = this.box.value;
    if (!text.trim() || !find("sign-in").hidden || session.isDeleted || this.attachments.isUploading) return;
    this.#notify("");
    const images = this.attachments.take();
    workspace.beforeMessage(session);
    const { id: replaces, ...draft } = this.rewrite.take();
    // What is edited is the message that is being answered.
    session.send(text, { images, replaces, when: this.#isAnswering ? (replaces ? "interrupt" : when) : "queue" });
    // What stood there before an old message was edited.
    this.write(draft.text);
    this.attachments.addUploads(draft.images);
    this.keepDraft();
    this.#onSent();
  }

  write(text) {
    this.box.value = text;
    this.#changed();
    this.focus();
  }

  /** Add a text that could not be sent, or is to be sent again. */
  add(text, images = []) {
    this.write(this.box.value.trim() ? `${this.box.value}\n${text}` : text);
    this.attachments.addUploads(images);
  }

  /** Show what can be done with a message now. */
  update({ isAnswering, again }) {
    this.#again = again;
    this.#isAnswering = isAnswering;
    find("stop").hidden = !isAnswering;
    find("send").textContent = isAnswering ? t("Queue") : t("Send");
    find("composer").classList.toggle("answering", isAnswering);
    find("keys").textContent = isAnswering ? KEYS_WHILE_ANSWERING_TEXT : KEYS_TEXT;
    this.#changed();
  }

  #changed() {
    // Not a height: the Content-Security-Policy allows no inline styles.
    this.box.rows = Math.min(this.box.value.split("\n").length, MAX_ROWS);
    this.box.placeholder = this.attachments.ids.length ? t("Say what to do with it") : t("Write a message");
    find("send").disabled = this.attachments.isUploading;
    find("interrupt").hidden = find("steer").hidden = !this.box.value.trim() || !this.#isAnswering;
  }

  /** Edit the newest message that waits, or else the newest one that was answered. Return whether there is one. */
  #rewriteLast() {
    const waiting = find("queue").lastElementChild?.querySelector(".buttons:not([hidden]) button");
    if (waiting) waiting.click();
    else if (this.#again && !this.#again.isSending) this.rewrite.begin(this.#again);
    return Boolean(waiting ?? this.#again);
  }
}
