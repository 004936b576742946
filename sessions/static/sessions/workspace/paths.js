/**
 * Paths as models write them: relative to the workspace, `/` between names. The server has checked them already, but the
 * workspace is this page's law, and a server can be wrong.
 */

const MAX_CHARACTERS = 1024;

/** Never walked into: history and installed programs. */
export const SKIPPED_FOLDERS = new Set([".git", ".hg", ".svn", ".jj", "node_modules"]);

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;

/** Return a path in one spelling, "." for the workspace itself. Throws for one that may lead out of it. */
export function normalize(path) {
  const problem = problemOf(path);
  if (problem) throw new Error(`The path "${path.slice(0, 80)}" is refused: ${problem}. Use a path relative to the workspace.`);
  return path.split("/").filter((name) => name && name !== ".").join("/") || ".";
}

function problemOf(path) {
  if (!path.trim()) return "it is empty";
  if (path.length > MAX_CHARACTERS) return `it is longer than ${MAX_CHARACTERS} characters`;
  if (path.startsWith("/")) return "it is absolute";
  if (/[\\:]/.test(path)) return "it has a backslash or a colon, which lead elsewhere on some systems";
  if (INVISIBLE.test(path)) return "it has an invisible or invalid character";
  const names = path.split("/");
  if (names.includes("..")) return "it has .., which may lead out of the workspace";
  if (names[0].startsWith("~")) return "it begins with a tilde, which means a home folder";
  return "";
}

/** Return the folder that has a path, "." for what is at the top. */
export function parentOf(path) {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
}

export function nameOf(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Return what all paths in a folder begin with. */
export function baseOf(folder) {
  return folder === "." ? "" : `${folder}/`;
}
