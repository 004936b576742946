/** What differs between two texts, line by line. Pure, and bounded: no pair of texts takes more than a moment. */

const CONTEXT_LINES = 3;
// A larger difference is one block: lines that are the same by chance say nothing.
const MAX_DIFFERENCES = 1000;

/**
 * Return blocks: {kind: "same", lines}, {kind: "change", removed, added} or {kind: "gap", count}. A line is {text, number}, of
 * the text that it is in; those of "same" have `before` and `after` in the place of `number`. null is an empty text.
 */
export function diffBlocks(before, after, { context = CONTEXT_LINES } = {}) {
  const [old, young] = [splitLines(before ?? ""), splitLines(after ?? "")];
  return folded(group(edits(old, young), old, young), context);
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

/** Return pairs of places that are the same in both, in order. Myers, "An O(ND) Difference Algorithm". */
function edits(old, young) {
  let start = 0;
  while (start < old.length && start < young.length && old[start] === young[start]) start++;
  let [oldEnd, youngEnd] = [old.length, young.length];
  while (oldEnd > start && youngEnd > start && old[oldEnd - 1] === young[youngEnd - 1]) [oldEnd, youngEnd] = [oldEnd - 1, youngEnd - 1];
  const pairs = [];
  for (let place = 0; place < start; place++) pairs.push([place, place]);
  for (const [x, y] of middle(old.slice(start, oldEnd), young.slice(start, youngEnd))) pairs.push([x + start, y + start]);
  for (let place = 0; oldEnd + place < old.length; place++) pairs.push([oldEnd + place, youngEnd + place]);
  return pairs;
}

function middle(old, young) {
  if (!old.length || !young.length) return [];
  const bound = Math.min(old.length + young.length, MAX_DIFFERENCES);
  const offset = bound + 1;
  const reach = new Int32Array(2 * bound + 3);
  const history = [];
  for (let edits = 0; edits <= bound; edits++) {
    history.push(reach.slice(offset - edits - 1, offset + edits + 2));
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const isDown = diagonal === -edits || (diagonal !== edits && reach[offset + diagonal - 1] < reach[offset + diagonal + 1]);
      let x = isDown ? reach[offset + diagonal + 1] : reach[offset + diagonal - 1] + 1;
      let y = x - diagonal;
      while (x < old.length && y < young.length && old[x] === young[y]) [x, y] = [x + 1, y + 1];
      reach[offset + diagonal] = x;
      if (x >= old.length && y >= young.length) return walkBack(history, old.length, young.length);
    }
  }
  return [];
}

function walkBack(history, x, y) {
  const pairs = [];
  for (let edits = history.length - 1; edits >= 0; edits--) {
    const at = (diagonal) => history[edits][diagonal + edits + 1];
    const diagonal = x - y;
    const isDown = diagonal === -edits || (diagonal !== edits && at(diagonal - 1) < at(diagonal + 1));
    const before = isDown ? diagonal + 1 : diagonal - 1;
    const fromX = edits ? at(before) : 0;
    const fromY = edits ? fromX - before : 0;
    while (x > fromX && y > fromY && x > 0 && y > 0) pairs.push([--x, --y]);
    [x, y] = [fromX, fromY];
  }
  return pairs.reverse();
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
