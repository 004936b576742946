/**
 * The command `check`: tries what the workspace says of itself in `checks.txt`, that every JSON file can be read, and that
 * links in HTML and Markdown lead to files that exist. It reads; it runs nothing.
 */

import { normalize, parentOf, baseOf } from "./paths.js";
import { decode } from "./texts.js";

const CHECKS = "checks.txt";
const LINE = /^(\S+) (is JSON|contains|lacks|exists)(?: (.*))?$/;
const HTML_LINK = /\s(?:href|src)="([^"#?]+)/g;
const MARKDOWN_LINK = /\]\(([^)#?\s]+)/g;
const MAX_FILES = 1000;

/** Return {code, text}: 0 when all checks pass. */
export async function check(files) {
  const paths = [...(await files.list("."))].flatMap(([path, { isFolder }]) => (isFolder ? [] : [path]));
  paths.sort();
  const results = [];
  const add = (name, problem) => results.push(problem ? `FAIL  ${name}: ${problem}` : `ok    ${name}`);
  const seen = new Set();
  for (const [number, line] of (await linesOf(files, paths)).entries()) {
    if (!line.trim() || line.startsWith("#")) continue;
    seen.add(line.trim());
    add(line.trim(), await problemOf(files, line.trim(), number + 1));
  }
  for (const path of paths.slice(0, MAX_FILES)) {
    if (path.endsWith(".json") && !seen.has(`${path} is JSON`)) add(`${path} is JSON`, await jsonProblem(files, path));
    const pattern = path.endsWith(".html") ? HTML_LINK : path.endsWith(".md") ? MARKDOWN_LINK : null;
    if (pattern) for (const name of await brokenLinks(files, path, pattern)) add(`${path} links to ${name}`, "the file does not exist");
  }
  const failed = results.filter((result) => result.startsWith("FAIL")).length;
  const word = results.length === 1 ? "check" : "checks";
  const end = failed ? `${failed} of ${results.length} ${word} failed.` : `${results.length} ${word} passed.`;
  return { code: failed ? 1 : 0, text: `${[...results, end].join("\n")}\n` };
}

async function linesOf(files, paths) {
  return paths.includes(CHECKS) ? (await text(files, CHECKS)).split("\n") : [];
}

async function text(files, path) {
  return decode(await files.read(path), path);
}

async function problemOf(files, line, number) {
  const match = LINE.exec(line);
  if (!match || (/contains|lacks/.test(match[2]) && !match[3])) return `line ${number} of ${CHECKS} is not "FILE is JSON", "FILE contains TEXT", "FILE lacks TEXT" or "FILE exists"`;
  const [, name, kind, wanted] = match;
  try {
    const path = normalize(name);
    const entry = await files.stat(path);
    if (!entry || entry.isFolder) return "the file does not exist";
    if (kind === "exists") return "";
    if (kind === "is JSON") return jsonProblem(files, path);
    const has = (await text(files, path)).includes(wanted);
    return has === (kind === "contains") ? "" : kind === "contains" ? "it does not" : "it has it";
  } catch (error) {
    return error.message;
  }
}

async function jsonProblem(files, path) {
  try {
    JSON.parse(await text(files, path));
    return "";
  } catch (error) {
    return error.message;
  }
}

async function brokenLinks(files, path, pattern) {
  let page;
  try {
    page = await text(files, path);
  } catch {
    return [];
  }
  const broken = [];
  for (const [, link] of page.matchAll(pattern)) {
    // Addresses of other places are not files.
    if (/^([a-z]+:|\/|<)/i.test(link)) continue;
    try {
      const names = [];
      for (const name of `${baseOf(parentOf(path))}${decodeURIComponent(link)}`.split("/")) name === ".." ? names.pop() : names.push(name);
      if (!(await files.stat(normalize(names.join("/"))))) broken.push(link);
    } catch {
      broken.push(link);
    }
  }
  return [...new Set(broken)];
}
