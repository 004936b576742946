/** What a call would do to files, as far as its arguments tell. Pure. The workspace of the page may know more. */

// Other readers of a diff may begin a line there, or take it for a blank behind a marker. Such a diff is shown as it is.
const ODD_LINE_BREAKS = /\r(?!\n)|[\v\f\x1c-\x1f\x85\u2028\u2029\ufeff]/;
const MARKERS = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"];

/** Tools whose calls are shown as changes of files. */
export const EDIT_TOOLS = new Set(["write_file", "apply_diff", "delete_file"]);

/**
 * Return changes {path, before, after, isPart}: `before` is undefined where only the file itself could tell it, null for
 * no file; `isPart` where the texts are parts of the file. An empty list for a call that changes no text.
 */
export function changesOf(tool, { path = "", content, diff }) {
  if (tool === "write_file" && typeof content === "string") return [{ path, before: undefined, after: content }];
  if (tool === "delete_file") return [{ path, before: undefined, after: null }];
  if (tool === "apply_diff" && typeof diff === "string" && !ODD_LINE_BREAKS.test(diff)) {
    return diffParts(diff).map(([before, after]) => ({ path, before, after, isPart: true }));
  }
  return [];
}

/** Return the pairs [search, replace] of an `apply_diff`. Lines outside of blocks are ignored, as by clients. */
export function diffParts(diff) {
  const blocks = [];
  let parts = null;
  for (const line of diff.split("\n")) {
    const marker = MARKERS.indexOf(line.trimEnd());
    if (marker === 0) parts = [[]];
    else if (marker === 1 && parts?.length === 1) parts.push([]);
    else if (marker === 2 && parts?.length === 2) {
      blocks.push(parts.map((lines) => lines.map((one) => `${one}\n`).join("")));
      parts = null;
    } else parts?.at(-1).push(line);
  }
  return blocks;
}

/** Return the one argument that says most about a call, for a card of one line; empty where none does. */
export function subjectOf(args = {}) {
  const { command, path, from, to, query, pattern, question, goal, message, expression } = args;
  if (from && to) return `${from} → ${to}`;
  const subject = [command, query, path, pattern, question, goal, message, expression].find((one) => typeof one === "string" && one);
  return subject ?? Object.values(args).find((one) => typeof one === "string" && one) ?? "";
}
