/** What differs between two texts, line by line. Pure, and bounded: no pair of texts takes more than a moment. */

import { sameItems } from "../sameitems.js";

const CONTEXT_LINES = 3;

/**
 * Return blocks: {kind: "same", lines}, {kind: "change", removed, added} or {kind: "gap", count}. A line is {text, number}, of
 * the text that it is in; those of "same" have `before` and `after` in the place of `number`. null is an empty text.
 */
export function diffBlocks(before, after, { context = CONTEXT_LINES } = {}) {
  const [old, young] = [splitLines(before ?? ""), splitLines(after ?? "")];
  return folded(group(sameItems(old, young), old, young), context);
}

/** Return how many lines blocks add and remove. */
export function countChanges(blocks) {
  const changes = blocks.filter(({ kind }) => kind === "change");
  const sum = (name) => changes.reduce((total, block) => total + block[name].length, 0);
  return { added: sum("added"), removed: sum("removed") };
}

/** Split after line breaks. A last line without one says so, because that is a difference, too. */
export function splitLines(text) {
  if (!text) return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  else lines[lines.length - 1] += NO_LINE_BREAK;
  return lines;
}

// A private sign inside of this module and `diff.js`, behind a line that has no line break. No line has a line feed.
export const NO_LINE_BREAK = "\n";

/** Return the blocks of a unified diff, by file: [{path, blocks}]. What is not part of one is a block {kind: "note", text}. */
export function unifiedFiles(text) {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const files = [];
  let file = null;
  let places = null; // in a hunk: {before, after, beforeEnd, afterEnd}
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index];
    const inHunk = places && (places.before < places.beforeEnd || places.after < places.afterEnd);
    if (!inHunk && line.startsWith("--- ") && lines[index + 1]?.startsWith("+++ ")) {
      file = { path: pathOf(line, lines[++index]), blocks: [] };
      files.push(file);
      places = null;
      continue;
    }
    if (!file) files.push((file = { path: "", blocks: [] }));
    const hunk = inHunk ? null : /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (hunk) {
      places = startHunk(hunk, file, places);
      continue;
    }
    if (line.startsWith("\\")) markLast(file.blocks.at(-1));
    else if (!places || !takeLine(file, line, places)) {
      file.blocks.push({ kind: "note", text: line });
      // What is left out makes the counts of the hunk wrong.
      if (places) Object.assign(places, { beforeEnd: Infinity, afterEnd: Infinity });
    }
  }
  return files;
}

function pathOf(removed, added) {
  const [old, young] = [removed, added].map((line) => line.slice(4).split("\t")[0].replace(/^[ab]\//, ""));
  return young === "/dev/null" ? old : young;
}

function startHunk([, beforeStart, beforeCount = "1", afterStart, afterCount = "1"], file, places) {
  const [before, after] = [Number(beforeStart), Number(afterStart)];
  const skipped = before - (places?.before ?? 1);
  if (skipped > 0) file.blocks.push({ kind: "gap", count: skipped });
  return { before, after, beforeEnd: before + Number(beforeCount), afterEnd: after + Number(afterCount) };
}

/** Add a line of a hunk to the blocks. Return whether it is one. */
function takeLine({ blocks }, line, places) {
  const [sign, text] = [line[0] ?? " ", line.slice(1)];
  if (!" +-".includes(sign)) return false;
  const kind = sign === " " ? "same" : "change";
  let block = blocks.at(-1);
  if (block?.kind !== kind || (sign === "-" && block.added.length)) {
    block = kind === "same" ? { kind, lines: [] } : { kind, removed: [], added: [] };
    blocks.push(block);
  }
  if (sign === " ") block.lines.push({ text, before: places.before++, after: places.after++ });
  else if (sign === "-") block.removed.push({ text, number: places.before++ });
  else block.added.push({ text, number: places.after++ });
  return true;
}

function markLast(block) {
  const lines = block?.kind === "same" ? block.lines : block?.added?.length ? block.added : block?.removed;
  if (lines?.length) lines.at(-1).text += NO_LINE_BREAK;
}

function group(pairs, old, young) {
  const blocks = [];
  let [x, y] = [0, 0];
  for (const [nextX, nextY] of [...pairs, [old.length, young.length]]) {
    if (nextX > x || nextY > y) {
      const removed = old.slice(x, nextX).map((text, index) => ({ text, number: x + index + 1 }));
      const added = young.slice(y, nextY).map((text, index) => ({ text, number: y + index + 1 }));
      blocks.push({ kind: "change", removed, added });
    }
    [x, y] = [nextX + 1, nextY + 1];
    if (nextX === old.length) break;
    if (blocks.at(-1)?.kind !== "same") blocks.push({ kind: "same", lines: [] });
    blocks.at(-1).lines.push({ text: old[nextX], before: nextX + 1, after: nextY + 1 });
  }
  return blocks;
}

/** Leave out lines that are far from each change. */
function folded(blocks, context) {
  return blocks.flatMap((block, index) => {
    if (block.kind !== "same") return [block];
    const head = index ? context : 0;
    const tail = index < blocks.length - 1 ? context : 0;
    const count = block.lines.length - head - tail;
    if (count < 2) return [block];
    const parts = [block.lines.slice(0, head), block.lines.slice(block.lines.length - tail)];
    const [before, after] = parts.map((lines) => (lines.length ? [{ kind: "same", lines }] : []));
    return [...before, { kind: "gap", count }, ...after];
  });
}
