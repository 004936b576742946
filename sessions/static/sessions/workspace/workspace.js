/** One workspace: files, the tools that run on them, and what agents are told of them. */

import { filesOf } from "./database.js";
import { COMMAND_NAMES, READING_TOOLS, TOOL_NAMES } from "./names.js";
import { isSecret } from "./secrets.js";
import { decode, headOf } from "./texts.js";

const INSTRUCTION_NAMES = ["AGENTS.md", "CLAUDE.md"];
const MAX_INSTRUCTIONS_CHARACTERS = 20_000;
const MAX_TREE_ENTRIES = 200;
const MAX_TREE_DEPTH = 3;

const loadTools = () => import("./tools.js");

export class Workspace {
  #database;
  #journal;
  #listeners = new Set();
  #entries = new Map();
  #facts = {};
  #running = Promise.resolve();
  #version = 0;

  /** `kind`: demo, upload or folder. Files of a folder are on the disk; all others are kept in the database. */
  constructor({ id, name, kind, files }, { database, journal }) {
    Object.assign(this, { id, name, kind, files });
    this.#database = database;
    this.#journal = journal;
    this.openPath = null; // the file that the person looks at
    this.tools = TOOL_NAMES.map((tool) => ({ name: tool, run: (args, context) => this.#run(tool, args, context) }));
  }

  /** Return the paths of all files, sorted. */
  paths() {
    return [...this.#entries].flatMap(([path, { isFolder }]) => (isFolder ? [] : [path])).sort();
  }

  /** Return the paths of all folders. */
  folders() {
    return [...this.#entries].flatMap(([path, { isFolder }]) => (isFolder ? [path] : []));
  }

  /** Return the text of a file. Throws for what is no text. */
  async read(path) {
    return decode(await this.files.read(path), path);
  }

  /** Return the bytes of a file. */
  async bytes(path) {
    return this.files.read(path);
  }

  /** Call `listener(paths)` after each change, with the paths that a tool has changed. Return a function that ends it. */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Return what agents are told (docs/protocol.md, "The workspace"). */
  facts() {
    const open = this.openPath && { open_files: [this.openPath] };
    return { ...this.#facts, ...open, date: new Date().toLocaleDateString("sv"), time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone };
  }

  /** Return what an edit would change: {path, before, after}; null for other calls, and for those that would fail. */
  async preview(tool, args) {
    return (await loadTools()).preview(this.files, tool, args);
  }

  /** Read the files again: another tab, or another program, may have changed them. */
  async refresh(changed = []) {
    await this.#load();
    this.isLocked = !(await (this.files.isAllowed?.() ?? true));
    this.#entries = this.isLocked ? new Map() : await this.#list();
    this.#facts = await this.#findFacts();
    for (const listener of this.#listeners) listener(changed);
  }

  /** Store a workspace, so that other tabs and a reloaded page have it. */
  async store() {
    const { stores, apply } = this.#changes(this.files.takeChanges?.() ?? {});
    await this.#database?.change(stores, apply);
  }

  /** Store all files as they are now, in place of what is stored. */
  async replaceAll() {
    const { stores, apply } = this.#changes({ folders: this.files.takeChanges().folders }, { isWhole: true });
    await this.#database?.change(stores, ([workspaces, files]) => {
      files.delete(filesOf(this.id));
      apply([workspaces, files]);
    });
    await this.refresh();
    channel?.postMessage(this.id);
  }

  /** Return what is in the workspace. A folder that is gone, or that the browser keeps closed, is locked. */
  async #list() {
    try {
      return await this.files.list(".");
    } catch {
      this.isLocked = true;
      return new Map();
    }
  }

  async #load() {
    if (this.kind === "folder") return;
    const record = await this.#database?.get("workspaces", this.id);
    if (!record || record.version <= this.#version) return;
    const stored = await this.#database.all("files", filesOf(this.id));
    // Meanwhile a call of this tab may have read the same version, and have changed it.
    if (record.version <= this.#version) return;
    this.files.reset(Object.fromEntries(stored.map(({ path, bytes }) => [path, bytes])), record.folders);
    this.#version = record.version;
  }

  #record(folders = []) {
    const { id, name, kind } = this;
    return { id, name, kind, folders, version: this.#version, used: Date.now(), handle: this.files.handle };
  }

  /** Return changes of files as those of the database; the first ones are all files. */
  #changes({ changes = [], folders }, { isWhole = !this.#version } = {}) {
    const stored = isWhole && this.kind !== "folder" ? this.files.contents() : changes;
    this.#version = Math.max(Date.now(), this.#version + 1);
    const apply = ([workspaces, files]) => {
      workspaces.put(this.#record(folders));
      for (const [path, bytes] of stored) {
        if (bytes) files.put({ workspace: this.id, path, bytes });
        else files.delete([this.id, path]);
      }
    };
    return { stores: ["workspaces", "files"], apply };
  }

  /** Run a tool behind all earlier ones: a model that edits and reads in one step means that order. */
  async #run(tool, args, { call, signal }) {
    const run = this.#running.then(async () => {
      const { [tool]: perform } = (await loadTools()).TOOLS;
      const work = () => perform(this.files, args, { signal });
      if (READING_TOOLS.has(tool)) return work();
      // Another tab may have this session with another workspace: the call runs in one of them.
      const edit = () => inTurn(this.id, () => this.#edit(tool, args, { call, signal, work }));
      return inTurn(`of call ${call.turn_id} ${call.call_id}`, edit);
    });
    this.#running = run.catch(() => {});
    return run;
  }

  async #edit(tool, args, { call, signal, work }) {
    signal.throwIfAborted();
    await this.#load();
    const isFolder = this.kind === "folder";
    let changed = [args.to ?? args.path].filter(Boolean);
    const save = () => {
      const changes = this.files.takeChanges();
      changed = changes.changes.map(([path]) => path);
      return this.#changes(changes);
    };
    try {
      return await this.#journal.once(`${call.turn_id} ${call.call_id}`, call, {
        workspace: this.id,
        work,
        ...(!isFolder && { save }),
        isAtomic: !isFolder,
      });
    } finally {
      await this.refresh(tool === "execute_command" ? [] : changed);
      channel?.postMessage(this.id);
    }
  }

  async #findFacts() {
    const facts = { name: this.name, system: `Browser, without a system. Commands: ${COMMAND_NAMES.join(", ")}`, tree: this.#tree() };
    const path = INSTRUCTION_NAMES.find((name) => this.#entries.get(name)?.isFolder === false);
    try {
      const text = path && (await this.read(path));
      if (text) facts.instructions = [{ path, text: headOf(text, MAX_INSTRUCTIONS_CHARACTERS) }];
    } catch {
      // not text
    }
    return facts;
  }

  /** Return what is at the top, then what is in its folders, as long as there is room. */
  #tree() {
    const shown = [...this.#entries]
      .filter(([path]) => path.split("/").length <= MAX_TREE_DEPTH && !isSecret(path) && !/(^|\/)\./.test(path))
      .map(([path, { isFolder }]) => (isFolder ? `${path}/` : path));
    const depth = (path) => path.replace(/\/$/, "").split("/").length;
    return shown.sort((one, other) => depth(one) - depth(other)).slice(0, MAX_TREE_ENTRIES).sort();
  }
}

// Tabs with the same workspace tell each other of changes.
export const channel = globalThis.document ? new BroadcastChannel("codelab-workspaces") : null;

/** Do some work while no other tab works in the same workspace. On pages without https a browser cannot. */
export function inTurn(id, work) {
  return globalThis.navigator?.locks ? navigator.locks.request(`codelab-workspace ${id}`, work) : work();
}
