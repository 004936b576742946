/**
 * What a tab shows while it is in the background: how many things wait, in its title and as a dot on its icon, and where
 * the person allows it a notification of the browser when more of them wait.
 */

import { t, tn } from "../language.js";

const TAG = "codelab-attention"; // a later notification replaces the one before

class Attention {
  #counts = new Map();
  #title = document.title;
  #icon = document.querySelector("link[rel=icon]");
  #notification = null;

  constructor() {
    document.addEventListener("visibilitychange", () => document.hidden || this.#dismiss());
  }

  /** How many things wait, in all. */
  get count() {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /**
   * Say how many things of this source wait for the person. More than before are told by a notification, if the tab is in
   * the background: `text` says what they are, and `open()` shows them.
   */
  set(source, count, { text = "", open } = {}) {
    const before = this.#counts.get(source) ?? 0;
    if (count === before) return;
    this.#counts.set(source, count);
    this.#show();
    if (count > before) this.#notify(text || tn(count, "{count} thing waits for you", "{count} things wait for you"), open);
    else if (!this.count) this.#dismiss();
  }

  /** The tab's title, without the number. */
  setTitle(text) {
    this.#title = text;
    this.#show();
  }

  /** "granted", "denied", "default" (the person can be asked), or "unsupported": browsers have it on https and localhost only. */
  get permission() {
    return globalThis.Notification && isSecureContext ? Notification.permission : "unsupported";
  }

  /** Ask the person, who has just pressed a button. */
  async askPermission() {
    await Notification.requestPermission();
  }

  #show() {
    const { count } = this;
    const title = count ? `(${count}) ${this.#title}` : this.#title;
    if (document.title !== title) document.title = title;
    const { icon, iconWaiting } = this.#icon?.dataset ?? {};
    if (iconWaiting) this.#icon.href = count ? iconWaiting : icon;
    // Where the page is installed, its icon has the number.
    navigator.setAppBadge?.(count).catch(() => {});
  }

  #notify(text, open) {
    if (!document.hidden || this.permission !== "granted") return;
    try {
      const options = { body: text, tag: TAG, renotify: true, icon: this.#icon?.dataset.icon };
      this.#notification = new Notification(t("CodeLab needs you"), options);
      this.#notification.onclick = () => {
        focus();
        this.#dismiss();
        open?.();
      };
    } catch {
      // Phones show notifications of service workers only. The title and the icon say it, too.
    }
  }

  #dismiss() {
    this.#notification?.close();
    this.#notification = null;
  }
}

export const attention = new Attention();
