/** Differences between two texts, line by line, and as a unified diff. */

import { sameItems } from "../sameitems.js";
import { cut, linesOf } from "./texts.js";

const CONTEXT_LINES = 3;
const MAX_DIFF_CHARACTERS = 20_000;

/** Return [{kind: "same" | "removed" | "added", text}], for each line one, with its end. */
export function compareLines(before, after) {
  const [old, fresh] = [linesOf(before), linesOf(after)];
  const steps = [];
  let [x, y] = [0, 0];
  for (const [nextX, nextY] of [...sameItems(old, fresh), [old.length, fresh.length]]) {
    while (x < nextX) steps.push({ kind: "removed", text: old[x++] });
    while (y < nextY) steps.push({ kind: "added", text: fresh[y++] });
    if (x < old.length) steps.push({ kind: "same", text: old[x] });
    [x, y] = [x + 1, y + 1];
  }
  return steps;
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
