/** read_file, list_files and search_in_code. */

import { ExpressionSearch, matchingLines } from "./expressions.js";
import { baseOf, nameOf, normalize } from "./paths.js";
import { matcher } from "./patterns.js";
import { checkSecret, isSecret } from "./secrets.js";
import { cut, decode, headOf, linesOf, MAX_FILE_BYTES, MAX_RESULT_CHARACTERS, sizeInFrame } from "./texts.js";

const MAX_ITEMS = 1000;
const MAX_SEARCHED_BYTES = 4 * 2 ** 20;
const MAX_SEARCH_MS = 10_000;
const MAX_LINE_CHARACTERS = 500;

export async function readFile(files, { path: given, encoding, start_line: start = 1, end_line: end }) {
  const path = normalize(given);
  if (end < start) throw new Error("`end_line` is before `start_line`.");
  const entry = await files.stat(path);
  if (!entry) throw new Error(`${path} does not exist.`);
  if (entry.isFolder) throw new Error(`${path} is a folder; use list_files.`);
  if (entry.size > MAX_FILE_BYTES) throw new Error(`${path} has more than ${MAX_FILE_BYTES / 2 ** 20} MiB.`);
  checkSecret(path);
  const text = decode(await files.read(path), path, encoding);
  checkSecret(path, text);
  const lines = linesOf(text);
  const wanted = lines.slice(start - 1, end);
  const shown = fit(wanted);
  const answer = { success: true, content: shown.join(""), lines_read: shown.length };
  if (shown.length < wanted.length) {
    return { ...answer, truncated: true, note: `The file has ${lines.length} lines. Read on with start_line ${start + shown.length}.` };
  }
  if (shown.length && shown[0] !== wanted[0]) return { ...answer, truncated: true, note: "A line is too long to be shown whole." };
  return !wanted.length && lines.length ? { ...answer, note: `The file has ${lines.length} lines.` } : answer;
}

/** Return as many lines as a frame can take; one that is too long by itself is cut in its middle. */
function fit(lines) {
  const shown = [];
  let size = 0;
  for (const line of lines) {
    size += sizeInFrame(line);
    if (size > MAX_RESULT_CHARACTERS) return shown.length ? shown : [cut(line, MAX_RESULT_CHARACTERS / 8)];
    shown.push(line);
  }
  return shown;
}

export async function listFiles(files, { path: given, recursive = false, include_hidden: hasHidden = false, pattern }) {
  const path = normalize(given);
  const base = baseOf(path);
  const matches = pattern ? matcher(pattern) : () => true;
  const items = [];
  let [count, size] = [0, 0];
  for (const [found, { isFolder }] of await folder(files, path)) {
    const inside = found.slice(base.length);
    if (!recursive && inside.includes("/")) continue;
    if (!hasHidden && inside.split("/").some((name) => name.startsWith("."))) continue;
    if (!matches(inside)) continue;
    count += 1;
    if (items.length >= MAX_ITEMS || size > MAX_RESULT_CHARACTERS) continue;
    const { size: bytes = 0, modified } = (await files.stat(found)) ?? {};
    const item = { name: nameOf(found), path: found, type: isFolder ? "directory" : "file", size: bytes };
    if (modified) item.modified = `${new Date(modified).toISOString().slice(0, 19)}Z`;
    items.push(item);
    size += sizeInFrame(item);
  }
  return { success: true, path, items, total_count: count, ...(items.length < count && { truncated: true }) };
}

/** Return what is in a folder at any depth, sorted, as [path, entry]. */
async function folder(files, path) {
  const entry = await files.stat(path);
  if (!entry) throw new Error(`${path} does not exist.`);
  if (!entry.isFolder) throw new Error(`${path} is a file and not a folder.`);
  const base = baseOf(path);
  const entries = [...(await files.list(path))].filter(([found]) => found.startsWith(base));
  return entries.sort(([one], [other]) => (one < other ? -1 : 1));
}

export async function searchInCode(files, args, { signal } = {}) {
  const { query, path: given = ".", file_pattern: pattern, max_results: limit = 100 } = args;
  const path = normalize(given);
  const finder = finderOf(args);
  const matches = pattern ? matcher(pattern) : () => true;
  const entry = await files.stat(path);
  if (!entry) throw new Error(`${path} does not exist.`);
  if (!entry.isFolder) checkSecret(path);
  const entries = entry.isFolder ? await folder(files, path) : [[path, entry]];
  const [found, notes] = [[], []];
  const deadline = performance.now() + MAX_SEARCH_MS;
  let [total, size, secrets, large, isCut] = [0, 0, 0, 0, false];
  for (const [file, { isFolder }] of entries) {
    signal?.throwIfAborted();
    if (isFolder || !matches(entry.isFolder ? file.slice(baseOf(path).length) : file)) continue;
    if (performance.now() > deadline) {
      isCut = true;
      break;
    }
    if (isSecret(file)) secrets += 1;
    else if (((await files.stat(file))?.size ?? 0) > MAX_SEARCHED_BYTES) large += 1;
    else {
      const lines = await foundLines(files, file, finder);
      isCut ||= lines === null;
      for (const [line, text] of lines ?? []) {
        total += 1;
        if (found.length >= limit || size > MAX_RESULT_CHARACTERS) continue;
        found.push({ file, line, text: text.length <= MAX_LINE_CHARACTERS ? text : `${headOf(text, MAX_LINE_CHARACTERS)}…` });
        size += sizeInFrame(found.at(-1));
      }
    }
  }
  finder.close?.();
  if (secrets) notes.push(`${secrets} files that may hold secrets were not searched.`);
  if (large) notes.push(`${large} files above ${MAX_SEARCHED_BYTES / 2 ** 20} MiB were not searched.`);
  if (isCut) notes.push("The search took too long and was ended; search a smaller folder, or for something simpler.");
  const truncated = isCut || found.length < total;
  return { query, matches: found, total_matches: total, truncated, ...(notes.length && { note: notes.join(" ") }) };
}

/** Return the lines of a file that have what is searched for; null where that takes too long. */
async function foundLines(files, path, finder) {
  let text;
  try {
    text = decode(await files.read(path), path);
    checkSecret(path, text);
  } catch {
    return []; // not text, or gone meanwhile
  }
  try {
    return await finder.find(text);
  } catch {
    return null;
  }
}

/** Return what finds the lines of a text. */
function finderOf({ query, case_sensitive: isExact = false, regex: isExpression = false }) {
  if (!query) throw new Error("`query` is empty.");
  if (!isExpression) {
    const wanted = isExact ? query : query.toLowerCase();
    const test = (line) => (isExact ? line : line.toLowerCase()).includes(wanted);
    return { find: (text) => matchingLines({ test }, text) };
  }
  try {
    return new ExpressionSearch(query, isExact ? "u" : "iu");
  } catch (error) {
    throw new Error(`The query is not a regular expression: ${error.message}`);
  }
}
