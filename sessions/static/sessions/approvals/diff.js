/**
 * Changes of files, as tables of lines: side by side where there is room, otherwise one above the other (approvals.css).
 * Characters that cannot be seen are named.
 */

import { t, tn } from "../language.js";
import { button, element } from "../render.js";
import { nameHidden } from "./hidden.js";
import { countChanges, diffBlocks, NO_LINE_BREAK, unifiedFiles } from "./lines.js";

// Of a change so many lines are shown at first; the rest on request.
const MAX_LINES = 1000;

/**
 * Return a change as a node. `before` is null for a new file, `after` null for one that is deleted. `before` is undefined
 * where only the new text is known; `isPart` says that both are parts of the file, whose place is not known.
 */
export function diffView({ path, before, after, isPart = false }) {
  const isCrlf = [before, after].filter(Boolean).every(hasCrlfOnly);
  const [old, young] = isCrlf ? [withLf(before), withLf(after)] : [before, after];
  const notes = [
    before === null && after !== null && t("New file"),
    after === null && t("The file is deleted."),
    before === undefined && after !== null && t("The file's present text is not known here. This is its new text."),
    isPart && t("A part of the file"),
  ];
  return fileView(path, diffBlocks(old, young), { notes: notes.filter(Boolean), isPart });
}

/** Return the changes of a unified diff as a node: `diff` of `tool_call_finished`. */
export function unifiedView(text) {
  const files = unifiedFiles(text).map(({ path, blocks }) => fileView(path, blocks));
  return element("div", { class: "diffs" }, ...files);
}

/** Return how many lines a unified diff adds and removes. */
export function countUnified(text) {
  return countChanges(unifiedFiles(text).flatMap(({ blocks }) => blocks));
}

/** Return the text in nodes, with names in the place of hidden characters. */
export function visibleText(text, parts = nameHidden(text)) {
  return parts.map((part) => (part.isHidden ? element("mark", { class: "hidden-character" }, part.text) : part.text));
}

function fileView(path, blocks, { notes = [], isPart = false } = {}) {
  const { added, removed } = countChanges(blocks);
  const counts = [element("span", { class: "added" }, `+${added}`), " ", element("span", { class: "removed" }, `−${removed}`)];
  const caption = element("figcaption", {}, element("code", { dir: "ltr" }, ...visibleText(path)), element("span", { class: "counts" }, ...counts));
  caption.append(...notes.map((note) => element("span", { class: "note" }, note)));
  const label = t("Change of {path}: {added} lines added, {removed} removed", { path: path || t("a file"), added, removed });
  const lines = element("div", { class: "lines", tabindex: "0", role: "group", "aria-label": label, dir: "ltr" });
  fill(lines, bounded(blocks));
  // A text without another one has the whole width.
  const isOne = !(added && removed) && blocks.every(({ kind }) => kind !== "same");
  return element("figure", { class: ["diff", isPart && "part", isOne && "one"].filter(Boolean).join(" ") }, caption, lines);
}

/** Show the first of these pages of blocks, and a button for the next ones. */
function fill(lines, [blocks, ...pages]) {
  lines.append(...(blocks ?? []).map(blockView));
  if (!pages.length) return;
  const count = pages.flat().reduce((sum, block) => sum + sizeOf(block), 0);
  const more = button(tn(count, "Show {count} more line", "Show {count} more lines"), "quiet", () => {
    more.remove();
    fill(lines, [pages.flat()]);
    lines.focus();
  });
  lines.append(more);
}

function sizeOf(block) {
  return block.kind === "same" ? block.lines.length : block.kind === "change" ? block.removed.length + block.added.length : 1;
}

/** Return the blocks in two pages, where they are long. */
function bounded(blocks) {
  const [first, rest] = [[], []];
  let room = MAX_LINES;
  for (const block of blocks) {
    const [head, tail] = split(block, room);
    if (head) first.push(head);
    if (tail) rest.push(tail);
    room -= head ? sizeOf(head) : 0;
  }
  return rest.length ? [first, rest] : [first];
}

function split(block, room) {
  if (sizeOf(block) <= room) return [block];
  if (room <= 0) return [null, block];
  if (block.kind === "same") return [{ ...block, lines: block.lines.slice(0, room) }, { ...block, lines: block.lines.slice(room) }];
  const { removed, added } = block;
  const left = Math.max(room - removed.length, 0);
  const head = { ...block, removed: removed.slice(0, room), added: added.slice(0, left) };
  return [head, { ...block, removed: removed.slice(room), added: added.slice(left) }];
}

function blockView(block) {
  if (block.kind === "gap") {
    return element("p", { class: "gap" }, tn(block.count, "{count} unchanged line", "{count} unchanged lines"));
  }
  if (block.kind === "note") return element("p", { class: "gap" }, ...visibleText(block.text));
  if (block.kind === "same") {
    const old = block.lines.map(({ text, before }) => lineView("div", { text, number: before }));
    const young = block.lines.map(({ text, after }) => lineView("div", { text, number: after }));
    return row("same", element("div", { class: "left", "aria-hidden": "true" }, ...old), element("div", { class: "right" }, ...young));
  }
  const { removed, added } = block;
  const others = removed.length === added.length;
  const old = removed.map((line, index) => lineView("del", line, others && added[index].text));
  const young = added.map((line, index) => lineView("ins", line, others && removed[index].text));
  return row("change", element("div", { class: "left" }, ...old), element("div", { class: "right" }, ...young));
}

function row(kind, ...columns) {
  return element("div", { class: `block ${kind}` }, ...columns);
}

/** A line. The number is not part of the text, so that a copy has only the text. */
function lineView(name, { text, number }, other) {
  const isEnded = !text.endsWith(NO_LINE_BREAK);
  const shown = isEnded ? text : text.slice(0, -1);
  const content = other ? marked(shown, other.replace(NO_LINE_BREAK, "")) : visibleText(shown);
  const line = element(name, { class: "line", "data-number": number }, ...content, "\n");
  if (!isEnded) line.append(element("span", { class: "note" }, t("No line break at the end")));
  return line;
}

/** Return the line with a mark around what differs from the other one, unless all of it does. */
function marked(text, other) {
  const most = Math.min(text.length, other.length);
  let start = 0;
  while (start < most && text[start] === other[start]) start++;
  let end = 0;
  while (end < most - start && text.at(-1 - end) === other.at(-1 - end)) end++;
  // Half of a surrogate pair, or of what only the whole shows as hidden, is not marked by itself.
  const isClean = /^[\t\x20-\x7e]*$/.test(text);
  if (!isClean || start + end < most / 3 || start + end === text.length) return visibleText(text);
  return [text.slice(0, start), element("b", {}, text.slice(start, text.length - end)), text.slice(text.length - end)];
}

function hasCrlfOnly(text) {
  return text.includes("\r\n") && !/(?<!\r)\n|\r(?!\n)/.test(text);
}

function withLf(text) {
  return text && text.replaceAll("\r\n", "\n");
}
