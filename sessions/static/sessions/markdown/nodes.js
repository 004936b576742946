/**
 * Elements from the nodes of `POST /api/v1/markdown`: a node is a text, or [name, attributes, ...children].
 *
 * Models decide what is in them. So only the names in BUILDERS become elements, no attribute is copied by its name, an
 * address must be one of SAFE_LINK, and every text becomes a text node.
 */

import { element } from "../elements.js";
import { t } from "../language.js";
import { codeBlock } from "./code.js";

const SAFE_LINK = /^(?:https?:\/\/|mailto:)/i;
const MESSAGE_HEADING = 2; // the level of the heading above each message
const MAX_HEADING = 6;

/** Return the element of a block of the highest level. */
export function blockElement(node) {
  const block = build(node);
  // Paragraphs inside of other blocks have their direction by `unicode-bidi` (markdown.css): what has a `dir` of its own
  // does not count for the direction of the block around it.
  if (block.tagName === "P") block.dir = "auto";
  return block;
}

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const [name, attributes, ...children] = node;
  return (BUILDERS[name] ?? plainText)(attributes, children, name);
}

const content = (children) => children.map(build);
const same = (_, children, name) => element(name, {}, ...content(children));

const BUILDERS = {
  __proto__: null,
  p: same,
  strong: same,
  em: same,
  s: same,
  hr: same,
  br: same,
  thead: same,
  tbody: same,
  tr: same,
  ul: same,
  ol: same,
  h1: heading,
  h2: heading,
  h3: heading,
  h4: heading,
  h5: heading,
  h6: heading,
  blockquote: (_, children) => element("blockquote", { dir: "auto" }, ...content(children)),
  code: (_, children) => element("code", { dir: "auto" }, ...content(children)),
  math: (_, children) => element("code", { class: "math", dir: "ltr" }, ...content(children)),
  pre: ({ info, math }, children) => codeBlock({ info: math ? "TeX" : info, pieces: children }),
  li: listItem,
  table: (_, children) => element("div", { class: "table", role: "group", tabindex: "0", "aria-label": t("Table") }, element("table", {}, ...content(children))),
  th: ({ align }, children) => cell(children.length ? "th" : "td", align, children),
  td: ({ align }, children) => cell("td", align, children),
  a: link,
  image: link,
  ref: reference,
  footnote: footnote,
  definition: (_, children) => element("p", { class: "definition" }, ...content(children)),
  plain: (_, children) => element("p", { class: "plain" }, ...content(children)),
};

/** Show a node of a later version of the server by its text. */
function plainText(_, children) {
  return element("span", {}, ...content(children));
}

function heading(_, children, name) {
  // The level fits the headings of the page: no other level than one below the message's own may begin.
  return element(name, { "aria-level": MESSAGE_HEADING + 1, dir: "auto" }, ...content(children));
}

/** Give the headings of a message levels that never skip one. */
export function levelHeadings(body) {
  let previous = MESSAGE_HEADING;
  for (const node of body.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    previous = Math.min(MESSAGE_HEADING + Number(node.tagName[1]), previous + 1, MAX_HEADING);
    if (node.ariaLevel !== String(previous)) node.setAttribute("aria-level", previous);
  }
}

function listItem({ value, checked }, children) {
  const item = element("li", { dir: "auto" }, ...content(children));
  if (/^\d{1,9}$/.test(value)) item.value = Number(value);
  if (checked === undefined) return item;
  const box = element("input", { type: "checkbox", disabled: "", "aria-label": checked ? t("Done") : t("To do") });
  box.checked = checked;
  item.prepend(box, " ");
  item.className = "task";
  return item;
}

function cell(name, align, children) {
  const node = element(name, { dir: "auto", ...(name === "th" && { scope: "col" }) }, ...content(children));
  if (["left", "center", "right"].includes(align)) node.classList.add(align);
  return node;
}

/** A link, which says where it leads when its text does not. An image is one, too: the page loads nothing from elsewhere. */
function link({ href, title }, children, name) {
  const inner = content(children);
  if (!SAFE_LINK.test(href)) return element("span", {}, ...inner);
  const node = element("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...inner);
  // A link must not have another one inside: an image with a link, as on badges.
  for (const nested of node.querySelectorAll("a")) nested.replaceWith(...nested.childNodes);
  if (name === "image") node.className = "image";
  if (!node.textContent) node.textContent = href;
  if (title || node.textContent !== href) node.title = [title, href].filter(Boolean).join("\n");
  return node;
}

function reference({ label }) {
  const node = element("button", { type: "button", class: "link ref", "aria-label": t("Footnote {label}", { label }) }, label);
  node.addEventListener("click", () => {
    const notes = [...node.closest(".body").querySelectorAll(".footnote")];
    const note = notes.find((one) => one.dataset.label === label);
    note?.scrollIntoView({ block: "nearest" });
    note?.focus({ preventScroll: true });
  });
  return element("sup", {}, node);
}

function footnote({ label }, children) {
  const mark = element("span", { class: "mark" }, label);
  const note = element("div", { class: "footnote", role: "note", tabindex: "-1" }, mark, element("div", {}, ...content(children)));
  note.dataset.label = label;
  return note;
}
