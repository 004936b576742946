/** Fields for the arguments of a call. What is not touched stays exactly as it is. */

import { t } from "../language.js";
import { element } from "../render.js";
import { visibleText } from "./diff.js";
import { hasHidden } from "./hidden.js";

const MAX_ROWS = 14;
let formCount = 0;

export class ArgumentForm {
  #fields = [];

  constructor(args) {
    this.args = args;
    const rows = Object.entries(args).map(([name, value]) => this.#row(name, value));
    this.node = element("div", { class: "arguments" }, ...rows);
  }

  focus() {
    this.#fields[0]?.field.focus();
  }

  /** Return the arguments. Throws an Error for people where a field has no value of its kind. */
  read() {
    return Object.fromEntries(this.#fields.map(({ name, field, shown }) => [name, this.#valueOf(name, field, shown)]));
  }

  #row(name, value) {
    const isText = typeof value === "string";
    const text = isText ? value : JSON.stringify(value, null, 2);
    const id = `argument-${++formCount}`;
    const rows = Math.min(text.split("\n").length + (isText && text.includes("\n") ? 1 : 0), MAX_ROWS);
    const field = element("textarea", { id, rows, spellcheck: "false", autocomplete: "off", dir: "auto" });
    field.value = text;
    // A text box has line feeds only.
    this.#fields.push({ name, field, shown: field.value });
    const note = element("p", { class: "remark", dir: "ltr" });
    const showHidden = () => {
      note.hidden = !hasHidden(field.value);
      note.replaceChildren(...(note.hidden ? [] : [t("It has hidden characters:"), " ", ...visibleText(field.value)]));
    };
    field.addEventListener("input", showHidden);
    showHidden();
    return element("div", {}, element("label", { for: id }, element("code", {}, ...visibleText(name))), field, note);
  }

  #valueOf(name, field, shown) {
    const before = this.args[name];
    if (field.value === shown) return before;
    if (typeof before === "string") return before.includes("\r\n") ? field.value.replaceAll("\n", "\r\n") : field.value;
    try {
      return JSON.parse(field.value);
    } catch {
      field.focus();
      throw new Error(t("{name} is not JSON.", { name }));
    }
  }
}
