/** Files of a folder that the person has picked, on their disk (File System Access API). */

import { nameOf, parentOf, baseOf, SKIPPED_FOLDERS } from "./paths.js";
import { MAX_FILE_BYTES } from "./texts.js";

const MAX_ENTRIES = 20_000;
const MAX_DEPTH = 30;
const PERMISSION = { mode: "readwrite" };

export class FolderFiles {
  constructor(handle) {
    this.handle = handle;
  }

  /** Return whether the browser lets the page in. After a reload it wants to ask the person, and only after a click. */
  async isAllowed() {
    // Folders of the page's own storage have no permissions.
    return ((await this.handle.queryPermission?.(PERMISSION)) ?? "granted") === "granted";
  }

  /** Ask the person. Throws where the folder is gone. */
  async allow() {
    if (((await this.handle.requestPermission?.(PERMISSION)) ?? "granted") !== "granted") return false;
    await this.handle.keys().next();
    return true;
  }

  /** Return what is in a folder, at any depth, by its path: {isFolder}. Sizes are known by `stat`. */
  async list(folder) {
    const entries = new Map();
    await this.#walk(await this.#folder(folder), baseOf(folder), 1, entries);
    return entries;
  }

  async #walk(folder, base, depth, entries) {
    for await (const [name, handle] of folder.entries()) {
      if (entries.size >= MAX_ENTRIES) return;
      const isFolder = handle.kind === "directory";
      entries.set(base + name, { isFolder });
      if (isFolder && depth < MAX_DEPTH && !SKIPPED_FOLDERS.has(name)) await this.#walk(handle, `${base}${name}/`, depth + 1, entries);
    }
  }

  /** Return {isFolder, size, modified}; null where the path leads nowhere. */
  async stat(path) {
    if (path === ".") return { isFolder: true, size: 0 };
    try {
      const folder = await this.#folder(parentOf(path));
      const file = await found(() => folder.getFileHandle(nameOf(path)));
      if (!file) return (await found(() => folder.getDirectoryHandle(nameOf(path)))) ? { isFolder: true, size: 0 } : null;
      const { size, lastModified: modified } = await file.getFile();
      return { isFolder: false, size, modified };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async read(path) {
    const file = await (await (await this.#folder(parentOf(path))).getFileHandle(nameOf(path))).getFile();
    if (file.size > MAX_FILE_BYTES) throw new Error(`${path} has more than ${MAX_FILE_BYTES / 2 ** 20} MiB.`);
    return new Uint8Array(await file.arrayBuffer());
  }

  /** Write a file. The browser writes beside it and swaps both at `close`, so no reader finds a half. */
  async write(path, bytes) {
    const handle = await (await this.#folder(parentOf(path))).getFileHandle(nameOf(path), { create: true });
    const stream = await handle.createWritable();
    await stream.write(bytes);
    await stream.close();
  }

  async makeFolder(path) {
    await this.#folder(path, { create: true });
  }

  async remove(path) {
    await (await this.#folder(parentOf(path))).removeEntry(nameOf(path));
  }

  /** Move a file, or a folder with all that is in it: copied first, so that an end in the middle loses nothing. */
  async move(from, to) {
    const entry = await this.stat(from);
    if (!entry.isFolder) {
      await this.write(to, await this.read(from));
      return this.remove(from);
    }
    await this.makeFolder(to);
    for (const [path, { isFolder }] of await this.list(from)) {
      const target = to + path.slice(from.length);
      if (isFolder && SKIPPED_FOLDERS.has(nameOf(path))) throw new Error(`${from} has ${path}, which the page does not move.`);
      if (isFolder) await this.makeFolder(target);
      else await this.write(target, await this.read(path));
    }
    await (await this.#folder(parentOf(from))).removeEntry(nameOf(from), { recursive: true });
  }

  async #folder(path, options) {
    let folder = this.handle;
    for (const name of path === "." ? [] : path.split("/")) folder = await folder.getDirectoryHandle(name, options);
    return folder;
  }
}

async function found(get) {
  try {
    return await get();
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function isMissing({ name }) {
  return name === "NotFoundError" || name === "TypeMismatchError";
}
