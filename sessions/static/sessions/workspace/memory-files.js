/** Files in memory, as those of the demo project and of a folder that was uploaded. Changes are collected for the disk. */

import { baseOf, nameOf, parentOf } from "./paths.js";

export const MAX_FILES = 5000;
export const MAX_BYTES = 64 * 2 ** 20;

export class MemoryFiles {
  #files = new Map(); // path: {bytes, modified}
  #folders = new Set();
  #changes = new Map(); // path: its bytes, or null where it was deleted

  /** `contents`: {path: text or bytes}. */
  constructor(contents = {}, folders = []) {
    this.reset(contents, folders);
  }

  /** Forget everything, and have these files. */
  reset(contents, folders = []) {
    this.#files.clear();
    this.#changes.clear();
    this.#folders = new Set(folders);
    for (const [path, content] of Object.entries(contents)) {
      this.#addFolders(parentOf(path));
      this.#files.set(path, { bytes: typeof content === "string" ? new TextEncoder().encode(content) : content, modified: Date.now() });
    }
  }

  /** Return the changes since the last call, as [path, bytes or null], and all folders. */
  takeChanges() {
    const changes = [...this.#changes];
    this.#changes.clear();
    return { changes, folders: [...this.#folders] };
  }

  /** Return all files, as [path, bytes]. */
  contents() {
    return [...this.#files].map(([path, { bytes }]) => [path, bytes]);
  }

  /** Return what is in the workspace, by its path: {isFolder}. */
  list() {
    return new Map([...this.#folders].map((path) => [path, { isFolder: true }]).concat([...this.#files.keys()].map((path) => [path, { isFolder: false }])));
  }

  stat(path) {
    if (path === "." || this.#folders.has(path)) return { isFolder: true, size: 0 };
    const file = this.#files.get(path);
    return file ? { isFolder: false, size: file.bytes.length, modified: file.modified } : null;
  }

  read(path) {
    return this.#files.get(path).bytes;
  }

  write(path, bytes) {
    const size = [...this.#files].reduce((sum, [other, file]) => sum + (other === path ? 0 : file.bytes.length), bytes.length);
    if (size > MAX_BYTES) throw new Error(`A workspace in memory takes ${MAX_BYTES / 2 ** 20} MiB. Delete something first.`);
    if (this.#files.size >= MAX_FILES && !this.#files.has(path)) throw new Error(`A workspace in memory takes ${MAX_FILES} files.`);
    this.#files.set(path, { bytes, modified: Date.now() });
    this.#changes.set(path, bytes);
  }

  makeFolder(path) {
    this.#addFolders(path);
  }

  remove(path) {
    this.#folders.delete(path);
    if (this.#files.delete(path)) this.#changes.set(path, null);
  }

  move(from, to) {
    for (const path of [...this.#files.keys()]) {
      if (path !== from && !path.startsWith(baseOf(from))) continue;
      const file = this.#files.get(path);
      this.remove(path);
      this.#files.set(to + path.slice(from.length), file);
      this.#changes.set(to + path.slice(from.length), file.bytes);
    }
    for (const path of [...this.#folders]) {
      if (path !== from && !path.startsWith(baseOf(from))) continue;
      this.#folders.delete(path);
      this.#addFolders(to + path.slice(from.length));
    }
  }

  #addFolders(path) {
    for (let folder = path; folder !== "." && nameOf(folder); folder = parentOf(folder)) this.#folders.add(folder);
  }
}
