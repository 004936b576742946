/**
 * The tools that this page runs on the files of a workspace (docs/protocol.md, "Tools that the client runs"). What they
 * throw is told to the model. Files are `MemoryFiles` or `FolderFiles`.
 */

import { applyBlocks, parseBlocks } from "./blocks.js";
import { runCommand } from "./commands.js";
import { unifiedDiff } from "./lines.js";
import { baseOf, normalize, parentOf } from "./paths.js";
import { readFile, listFiles, searchInCode } from "./reading.js";
import { checkSecret, isSecret } from "./secrets.js";
import { decode, encode, isBinary, MAX_FILE_BYTES, sha256 } from "./texts.js";

/** All tools, by name: functions of the files and the arguments. */
export const TOOLS = {
  read_file: readFile,
  list_files: listFiles,
  search_in_code: searchInCode,
  write_file: writeFile,
  apply_diff: applyDiff,
  create_directory: createDirectory,
  delete_file: deleteFile,
  move_file: moveFile,
  execute_command: runCommand,
};

async function writeFile(files, { path: given, content, encoding, create_dirs: makesFolders = false }) {
  const path = normalize(given);
  const bytes = encode(content, encoding);
  const old = await files.stat(path);
  if (old?.isFolder) throw new Error(`${path} is a folder.`);
  if (makesFolders) await makeFolders(files, parentOf(path));
  else await checkFolder(files, parentOf(path), "set `create_dirs`, or create it first");
  const before = old && (await readBytes(files, path, old));
  await files.write(path, bytes);
  return { success: true, path, bytes_written: bytes.length, ...(await change(path, before, bytes)) };
}

async function applyDiff(files, { path: given, diff }) {
  const path = normalize(given);
  const blocks = parseBlocks(diff);
  // What was found, and how often, tells of the content.
  checkSecret(path);
  const before = await readExisting(files, path);
  const after = encode(applyBlocks(decode(before, path), blocks, path));
  await files.write(path, after);
  return { success: true, path, blocks_applied: blocks.length, ...(await change(path, before, after)) };
}

async function createDirectory(files, { path: given, recursive = true }) {
  const path = normalize(given);
  const old = await files.stat(path);
  if (old && !old.isFolder) throw new Error(`${path} is a file.`);
  if (!old) {
    if (!recursive) await checkFolder(files, parentOf(path), "set `recursive`, or create it first");
    await makeFolders(files, path);
  }
  return { success: true, path, created: !old, already_exists: Boolean(old) };
}

async function deleteFile(files, { path: given }) {
  const path = normalize(given);
  if (path === ".") throw new Error("The workspace itself cannot be deleted.");
  const old = await files.stat(path);
  if (!old) throw new Error(`${path} does not exist.`);
  if (old.isFolder && (await isFilled(files, path))) throw new Error(`The folder ${path} is not empty.`);
  const before = old.isFolder ? null : await readBytes(files, path, old);
  await files.remove(path);
  return { success: true, path, ...(before && (await change(path, before, null))) };
}

async function moveFile(files, { from: givenFrom, to: givenTo }) {
  const [from, to] = [normalize(givenFrom), normalize(givenTo)];
  if (from === "." || to === ".") throw new Error("The workspace itself cannot be moved.");
  const old = await files.stat(from);
  if (!old) throw new Error(`${from} does not exist.`);
  if (await files.stat(to)) throw new Error(`${to} exists already.`);
  if (to.startsWith(baseOf(from))) throw new Error(`${to} is inside of ${from}.`);
  // Under the new name it could be read.
  if (!isSecret(to)) checkSecret(from);
  await checkFolder(files, parentOf(to), "create it first");
  const digest = old.isFolder ? undefined : await sha256(await readBytes(files, from, old));
  await files.move(from, to);
  return { success: true, from, to, ...(digest && { sha256_before: digest, sha256_after: digest }) };
}

/** Return the hashes and the diff of a change. */
async function change(path, before, after) {
  const facts = { sha256_before: before && (await sha256(before)), sha256_after: after && (await sha256(after)) };
  const [old, fresh] = [textOf(before), textOf(after)];
  // The old lines of a file of secrets are not sent.
  if (old !== undefined && fresh !== undefined && !isSecret(path)) facts.diff = unifiedDiff(path, old, fresh);
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value));
}

/** Return the text of some bytes, null where there are none, and undefined for what is no text. */
function textOf(bytes) {
  if (!bytes) return null;
  return isBinary(bytes) ? undefined : new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

async function readExisting(files, path) {
  const entry = await files.stat(path);
  if (!entry) throw new Error(`${path} does not exist.`);
  if (entry.isFolder) throw new Error(`${path} is a folder.`);
  return readBytes(files, path, entry);
}

async function readBytes(files, path, { size }) {
  if (size > MAX_FILE_BYTES) throw new Error(`${path} has more than ${MAX_FILE_BYTES / 2 ** 20} MiB.`);
  return files.read(path);
}

async function checkFolder(files, folder, advice) {
  const entry = await files.stat(folder);
  if (!entry) throw new Error(`The folder ${folder} does not exist: ${advice}.`);
  if (!entry.isFolder) throw new Error(`${folder} is a file and not a folder.`);
}

async function makeFolders(files, path) {
  for (let folder = path; folder !== "."; folder = parentOf(folder)) {
    const entry = await files.stat(folder);
    if (entry && !entry.isFolder) throw new Error(`${folder} is a file and not a folder.`);
  }
  if (path !== ".") await files.makeFolder(path);
}

async function isFilled(files, folder) {
  const paths = (await files.list(folder)).keys();
  return [...paths].some((path) => path.startsWith(baseOf(folder)));
}

/**
 * Return what an edit would change: {path, before, after}, `before` null for a new file and `after` null for one that is
 * deleted; null where the call edits no text, or would fail.
 */
export async function preview(files, tool, args) {
  try {
    const path = normalize(args.path ?? "");
    const entry = await files.stat(path);
    if (entry?.isFolder || (entry && entry.size > MAX_FILE_BYTES)) return null;
    const before = entry ? decode(await files.read(path), path) : null;
    if (tool === "write_file") return { path, before, after: args.content };
    if (before === null) return null;
    if (tool === "apply_diff") return { path, before, after: applyBlocks(before, parseBlocks(args.diff), path) };
    return tool === "delete_file" ? { path, before, after: null } : null;
  } catch {
    return null;
  }
}
