/** The panel beside the chat: the files of the workspace as a tree, the open file, and the choice of a workspace. */

import { t } from "../language.js";
import { button, element } from "../render.js";
import { Chooser } from "./chooser.js";
import { cut } from "./texts.js";
import { treeNodes } from "./tree.js";

const WIDE = "(min-width: 75rem)";
const PREFERENCE = "codelab.workspace.panel";
const MAX_SHOWN_CHARACTERS = 200_000;

const KINDS = {
  demo: () => t("A demo project, kept in this browser"),
  upload: () => t("A copy in this browser: download what you want to keep"),
  folder: () => t("A folder on this device"),
};

export class WorkspacePanel {
  #changed = new Set();
  #isTold = false;

  /** `toggle` shows and hides the panel. */
  constructor(node, toggle, workspace) {
    Object.assign(this, { node, toggle, workspace });
    this.title = element("h2");
    this.about = element("p", { class: "about" });
    this.chooser = new Chooser(workspace);
    this.tree = element("nav", { "aria-label": t("Files") });
    this.fileName = element("h3", { dir: "ltr" });
    this.text = element("pre", { tabindex: "0", dir: "ltr" });
    const close = button(t("Close"), "quiet", () => this.#close());
    const download = button(t("Download"), "quiet", () => this.chooser.download(this.path));
    this.file = element("section", { class: "open-file", "aria-label": t("Open file") });
    this.file.append(element("div", { class: "bar" }, this.fileName, download, close), this.text);
    this.file.hidden = true;
    node.append(this.title, this.about, this.chooser.node, this.tree, this.file);
    this.media = matchMedia(WIDE);
    this.media.addEventListener("change", () => this.#place());
    toggle.addEventListener("click", () => this.show(!this.isShown, true));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.media.matches || !this.isShown) return;
      event.preventDefault(); // it means this panel, and not the answer that runs
      this.show(false);
      toggle.focus();
    });
    workspace.onChange((paths) => this.#handleChange(paths));
    this.#place();
  }

  get isShown() {
    return document.body.classList.contains("with-files");
  }

  /** Show or hide the panel; on wide screens a person's choice is kept. */
  show(isShown, isChosen = false) {
    document.body.classList.toggle("with-files", isShown);
    this.toggle.setAttribute("aria-expanded", isShown);
    // On a phone the list of sessions has the same place.
    if (isShown && document.body.classList.contains("listing")) document.getElementById("sessions-toggle").click();
    if (isChosen && this.media.matches) write(isShown);
    if (isShown) this.#draw();
  }

  /** Beside the chat where there is room for both; over it elsewhere, when it is asked for. */
  #place() {
    this.show(this.media.matches && isWanted() && Boolean(this.workspace.current));
  }

  #handleChange(paths) {
    const { current } = this.workspace;
    if (current !== this.shown) {
      this.shown = current;
      this.#changed.clear();
      this.path = current?.openPath ?? null;
      this.#place();
    }
    for (const path of paths) this.#changed.add(path);
    // What an agent has just written is what the person wants to see.
    const written = paths.findLast((path) => current?.paths().includes(path));
    if (written && this.media.matches) this.#setPath(written);
    if (this.isShown) this.#drawSoon();
  }

  /** Draw once for all changes of a moment. */
  #drawSoon() {
    if (this.#isTold) return;
    this.#isTold = true;
    queueMicrotask(() => {
      this.#isTold = false;
      this.#draw();
    });
  }

  #draw() {
    const { current } = this.workspace;
    this.title.textContent = current?.name ?? t("No workspace");
    this.about.textContent = current ? KINDS[current.kind]() : t("Agents have no files to read or change here.");
    this.chooser.update();
    const focused = this.tree.contains(document.activeElement) && document.activeElement.dataset.path;
    const open = new Set([...this.tree.querySelectorAll("details[open]")].map(({ dataset }) => dataset.path));
    const nodes = current ? treeNodes(current, { open, selected: this.path, changed: this.#changed, choose: (path) => this.#open(path) }) : [];
    this.tree.replaceChildren(...nodes);
    if (focused) [...this.tree.querySelectorAll("[data-path]")].find(({ dataset }) => dataset.path === focused)?.focus();
    this.#showFile();
  }

  #open(path) {
    this.#setPath(path);
    this.#draw();
  }

  #setPath(path) {
    this.path = path;
    if (this.workspace.current) this.workspace.current.openPath = path;
  }

  #close() {
    const path = this.path;
    this.#setPath(null);
    this.#draw();
    [...this.tree.querySelectorAll("button")].find(({ dataset }) => dataset.path === path)?.focus();
  }

  async #showFile() {
    const { path } = this;
    const { current } = this.workspace;
    const exists = path && this.workspace.paths().includes(path);
    this.file.hidden = !exists;
    if (!exists) return;
    let text;
    try {
      text = cut(await this.workspace.read(path), MAX_SHOWN_CHARACTERS);
    } catch {
      text = t("This file is not text.");
    }
    if (path !== this.path || current !== this.workspace.current) return;
    this.fileName.textContent = path;
    this.text.setAttribute("aria-label", path);
    // The same text again would lose the selection and the place.
    if (this.text.textContent !== text) this.text.textContent = text;
  }
}

function isWanted() {
  try {
    return localStorage.getItem(PREFERENCE) !== "false";
  } catch {
    return true; // forbidden
  }
}

function write(isShown) {
  try {
    localStorage.setItem(PREFERENCE, String(isShown));
  } catch {
    // Forbidden: the choice lasts as long as the page.
  }
}
