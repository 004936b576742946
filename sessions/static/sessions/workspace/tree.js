/** The files of a workspace as nested lists: folders open and close, files are buttons. */

import { t, tn } from "../language.js";
import { button, element } from "../render.js";
import { nameOf, parentOf } from "./paths.js";

// More in one folder would make the page slow, and no person reads them.
const MAX_SHOWN = 500;

/**
 * Return the nodes of the tree. `open` has the folders that are open, `selected` is the open file, `changed` has files that
 * agents have changed, and `choose(path)` opens one.
 */
export function treeNodes(workspace, options) {
  const inFolder = new Map();
  const add = (path, isFolder) => {
    const parent = parentOf(path);
    if (!inFolder.has(parent)) inFolder.set(parent, []);
    inFolder.get(parent).push({ path, isFolder });
  };
  for (const path of workspace.folders()) add(path, true);
  for (const path of workspace.paths()) add(path, false);
  if (!inFolder.size) return [element("p", { class: "about" }, t("No files yet."))];
  return [list(".", inFolder, options)];
}

function list(folder, inFolder, options) {
  const entries = (inFolder.get(folder) ?? []).sort(compare);
  const rows = entries.slice(0, MAX_SHOWN).map((entry) => element("li", {}, row(entry, inFolder, options)));
  const left = entries.length - rows.length;
  if (left > 0) rows.push(element("li", { class: "about" }, tn(left, "and {count} more file", "and {count} more files")));
  return element("ul", {}, ...rows);
}

function compare(one, other) {
  return other.isFolder - one.isFolder || (one.path < other.path ? -1 : 1);
}

function row({ path, isFolder }, inFolder, options) {
  return isFolder ? folderRow(path, inFolder, options) : fileRow(path, options);
}

function folderRow(path, inFolder, options) {
  const details = element("details", { "data-path": path }, element("summary", { dir: "ltr" }, nameOf(path)));
  const fill = () => details.open && details.childElementCount === 1 && details.append(list(path, inFolder, options));
  details.open = options.open.has(path) || [options.selected, ...options.changed].some((one) => one?.startsWith(`${path}/`));
  fill();
  // Folders that are closed have no nodes: a project may have thousands of files.
  details.addEventListener("toggle", fill);
  return details;
}

function fileRow(path, { selected, changed, choose }) {
  const node = button(nameOf(path), "file", () => choose(path));
  node.dataset.path = path;
  node.dir = "ltr";
  if (path === selected) node.setAttribute("aria-current", "true");
  if (changed.has(path)) node.append(element("span", { class: "mark" }, t("changed")));
  return node;
}
