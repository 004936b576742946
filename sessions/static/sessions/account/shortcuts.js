/** The dialog that lists the keys of the page: `?` opens it where a person does not write, Ctrl + / everywhere. */

import { onPageKeys } from "../keys.js";
import { t } from "../language.js";
import { button, element } from "../render.js";

const WRITING = [
  [["Enter"], t("Send the message")],
  [["Shift", "Enter"], t("New line")],
  [["Alt", "Enter"], t("Steer the answer: it reads the message at its next step")],
  [["Ctrl", "Enter"], t("Stop the answer and send the message")],
  [["Esc"], t("Stop the answer, or leave a form")],
  [["↑"], t("In an empty box: edit your last message")],
];
const MOVING = [
  [["Alt", "N"], t("New session")],
  [["Alt", "M"], t("To the message box")],
  [["Tab"], t("To the next button, link or box")],
  [["?"], t("Show these keys")],
  [["Ctrl", "/"], t("Show these keys, also while you write")],
];

export class Shortcuts {
  /** `handlers` of other keys, by their names. */
  constructor(handlers = {}) {
    onPageKeys({ ...handlers, "?": () => this.open(), "Ctrl+/": () => this.open() });
  }

  open() {
    this.dialog ??= this.#dialog();
    if (!this.dialog.open) this.dialog.showModal();
  }

  #dialog() {
    const close = button(t("Close"), "quiet", () => dialog.close());
    const title = element("h2", { id: "shortcuts-title" }, t("Keyboard shortcuts"));
    const head = element("header", {}, title, close);
    const tables = [table(t("While you write"), WRITING), table(t("Everywhere"), MOVING)];
    const dialog = element("dialog", { class: "shortcuts", "aria-labelledby": "shortcuts-title" }, head, ...tables);
    // A click beside the dialog arrives at the dialog itself.
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
    document.body.append(dialog);
    return dialog;
  }
}

function table(title, rows) {
  const lines = rows.map(([keys, text]) => {
    const names = keys.flatMap((key, place) => [place ? " + " : "", element("kbd", {}, key)]);
    return element("tr", {}, element("th", { scope: "row" }, ...names), element("td", {}, text));
  });
  return element("table", {}, element("caption", {}, title), element("tbody", {}, ...lines));
}
