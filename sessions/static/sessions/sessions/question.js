/** A question before something that cannot be undone. */

import { t } from "../language.js";
import { button, element } from "../render.js";

/** Ask, and return whether the user wants it. The first answer of the keyboard is no. */
export function ask({ title, text, yes }) {
  return new Promise((resolve) => {
    const no = button(t("Cancel"), "quiet", () => dialog.close());
    no.autofocus = true;
    const agree = button(yes, "danger", () => dialog.close("yes"));
    const dialog = element(
      "dialog",
      { class: "question", "aria-labelledby": "question-title", "aria-describedby": "question-text" },
      element("h2", { id: "question-title", dir: "auto" }, title),
      element("p", { id: "question-text" }, text),
      element("div", { class: "buttons" }, no, agree),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
