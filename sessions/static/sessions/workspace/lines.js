/** Differences between two texts, line by line, and as a unified diff. */

import { cut, linesOf } from "./texts.js";

const CONTEXT_LINES = 3;
const MAX_DIFF_CHARACTERS = 20_000;
// Myers' algorithm takes the square of this in time and space; beyond it all lines between the equal ends count as changed.
const MAX_EDITS = 400;

/** Return [{kind: "same" | "removed" | "added", text}], for each line one, with its end. */
export function compareLines(before, after) {
  const [old, fresh] = [linesOf(before), linesOf(after)];
  let head = 0;
  while (head < old.length && head < fresh.length && old[head] === fresh[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(old.length, fresh.length) - head && old.at(-1 - tail) === fresh.at(-1 - tail)) tail += 1;
  const [middleOld, middleNew] = [old.slice(head, old.length - tail), fresh.slice(head, fresh.length - tail)];
  return [
    ...old.slice(0, head).map((text) => ({ kind: "same", text })),
    ...(shortestEdit(middleOld, middleNew) ?? replacement(middleOld, middleNew)),
    ...old.slice(old.length - tail).map((text) => ({ kind: "same", text })),
  ];
}

function replacement(old, fresh) {
  return [...old.map((text) => ({ kind: "removed", text })), ...fresh.map((text) => ({ kind: "added", text }))];
}

/** Return the shortest edit by Myers' algorithm, or null where it would take too long. */
function shortestEdit(old, fresh) {
  const furthest = new Map([[1, 0]]);
  const rounds = [];
  for (let edits = 0; edits <= Math.min(old.length + fresh.length, MAX_EDITS); edits += 1) {
    rounds.push(new Map(furthest));
    for (let line = -edits; line <= edits; line += 2) {
      let x = comesFromAbove(furthest, line, edits) ? furthest.get(line + 1) : furthest.get(line - 1) + 1;
      while (x < old.length && x - line < fresh.length && old[x] === fresh[x - line]) x += 1;
      furthest.set(line, x);
      if (x >= old.length && x - line >= fresh.length) return goBack(rounds, old, fresh);
    }
  }
  return null;
}

function comesFromAbove(furthest, line, edits) {
  return line === -edits || (line !== edits && furthest.get(line - 1) < furthest.get(line + 1));
}

function goBack(rounds, old, fresh) {
  const steps = [];
  let [x, y] = [old.length, fresh.length];
  for (let edits = rounds.length - 1; edits >= 0; edits -= 1) {
    const line = x - y;
    const before = comesFromAbove(rounds[edits], line, edits) ? line + 1 : line - 1;
    const [fromX, fromY] = edits ? [rounds[edits].get(before), rounds[edits].get(before) - before] : [0, 0];
    while (x > fromX && y > fromY) [x, y] = [x - 1, steps.push({ kind: "same", text: old[x - 1] }) && y - 1];
    if (x > fromX) steps.push({ kind: "removed", text: old[(x -= 1)] });
    else if (y > fromY) steps.push({ kind: "added", text: fresh[(y -= 1)] });
  }
  return steps.reverse();
}

/** Return a unified diff, bounded. `before` is null for a new file, `after` for one that is deleted. */
export function unifiedDiff(path, before, after) {
  const steps = compareLines(before ?? "", after ?? "");
  const changes = steps.flatMap(({ kind }, place) => (kind === "same" ? [] : [place]));
  if (!changes.length && before !== null && after !== null) return "";
  const head = `--- ${before === null ? "/dev/null" : `a/${path}`}\n+++ ${after === null ? "/dev/null" : `b/${path}`}\n`;
  return cut(head + hunks(steps, changes).join(""), MAX_DIFF_CHARACTERS);
}

function hunks(steps, changes) {
  const groups = [];
  for (const place of changes) {
    const last = groups.at(-1);
    if (last && place - last[1] <= 2 * CONTEXT_LINES + 1) last[1] = place;
    else groups.push([place, place]);
  }
  let [oldLine, newLine, done] = [1, 1, 0];
  return groups.map(([first, last]) => {
    const [begin, end] = [Math.max(0, first - CONTEXT_LINES), Math.min(steps.length, last + CONTEXT_LINES + 1)];
    for (; done < begin; done += 1) [oldLine, newLine] = after(steps[done], oldLine, newLine);
    const [oldFrom, newFrom] = [oldLine, newLine];
    for (; done < end; done += 1) [oldLine, newLine] = after(steps[done], oldLine, newLine);
    const body = steps.slice(begin, end).map(({ kind, text }) => `${{ same: " ", removed: "-", added: "+" }[kind]}${withEnd(text)}`);
    return `@@ -${range(oldFrom, oldLine)} +${range(newFrom, newLine)} @@\n${body.join("")}`;
  });
}

function after({ kind }, oldLine, newLine) {
  return [oldLine + (kind !== "added"), newLine + (kind !== "removed")];
}

function range(from, to) {
  return `${to > from ? from : from - 1},${to - from}`;
}

function withEnd(text) {
  return text.endsWith("\n") ? text : `${text}\n\\ No newline at end of file\n`;
}
