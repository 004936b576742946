/** A block of code: its language, a button that copies it, and its text in colours. */

import { button, element } from "../elements.js";
import { t } from "../language.js";

const KINDS = new Set(["keyword", "type", "string", "number", "comment", "function", "builtin", "attribute", "deleted", "inserted", "heading"]);
const COPIED_MS = 2000;

/** `pieces` are texts, and pairs of a kind and a text. */
export function codeBlock({ info = "", pieces }) {
  const code = element("code", {}, ...pieces.map(pieceNode));
  const language = element("span", { class: "language" }, info);
  const copy = button(t("Copy"), "link copy", () => copyText(code, copy));
  const label = info ? t("Code: {language}", { language: info }) : t("Code");
  const bar = element("div", { class: "bar" }, language, copy);
  return element("div", { class: "code", role: "group", "aria-label": label }, bar, element("pre", { dir: "ltr", tabindex: "0" }, code));
}

function pieceNode(piece) {
  if (typeof piece === "string") return piece;
  const [kind, text] = piece;
  return element("span", KINDS.has(kind) ? { class: kind } : {}, text);
}

async function copyText(code, copy) {
  try {
    // Browsers have it on https and localhost only.
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    if (!document.execCommand("copy")) return;
  }
  copy.textContent = t("Copied");
  setTimeout(() => (copy.textContent = t("Copy")), COPIED_MS);
}
