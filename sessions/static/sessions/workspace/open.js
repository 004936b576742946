/** The open workspace of the tab, which is that of the open session. */

import { choiceOf, clientId, DEMO, forget, isAnsweredByHand, isChosen, isMine, lastChoice, newId, NONE, remember, rememberLast } from "./choices.js";
import { Database } from "./database.js";
import { deleteUnused, deleteWorkspace } from "./deletion.js";
import { DEMO_FILES, DEMO_NAME } from "./demo.js";
import { Journal } from "./journal.js";
import { MemoryFiles } from "./memory-files.js";
import { channel, inTurn, Workspace } from "./workspace.js";

const TOOLS_DELAY_MS = 1000;
const loadFolders = () => import("./folder-files.js");

class OpenWorkspace {
  #opened = new Map(); // workspaces, by id
  #of = new Map(); // of connected sessions, by their keys
  #sessions = new Map(); // connected ones, by key
  #listeners = new Set();
  #session = null;
  #storage;

  constructor() {
    // Calls may come to any tab of this browser, so all of them have the same workspace for a session.
    globalThis.addEventListener?.("storage", () => this.#followOtherTabs());
  }

  /** The workspace of the open session, or null. */
  get current() {
    return this.#of.get(this.#session?.key) ?? null;
  }

  get name() {
    return this.current?.name ?? "";
  }

  get tools() {
    return this.current?.tools ?? [];
  }

  /** The name of this browser for the server. */
  get clientId() {
    return clientId();
  }

  paths() {
    return this.current?.paths() ?? [];
  }

  async read(path) {
    if (!this.current) throw new Error("No workspace is open.");
    return this.current.read(path);
  }

  facts() {
    return this.current?.facts() ?? {};
  }

  /** Return what an edit would change: {path, before, after}, or null. */
  async preview(tool, args) {
    return (await this.current?.preview(tool, args)) ?? null;
  }

  /** Call `listener(paths)` when another workspace is open, and when files have changed. Return a function that ends it. */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Give a session its workspace before it is started. A session that this page has just made gets the one that was
   * chosen last. Others have none here: their tools may be those of another client.
   */
  async attach(session, { isNew = false } = {}) {
    const choice = choiceOf(session.key) ?? (isNew ? lastChoice() : undefined);
    if (choice) await this.#give(session, choice);
  }

  /** Have this session's workspace as the open one. */
  show(session) {
    this.#session = session;
    this.#tell([]);
  }

  /** Forget a session that is closed. */
  detach(session) {
    this.#of.delete(session.key);
    this.#sessions.delete(session.key);
  }

  /** Delete what this device keeps of a deleted session, unless another session has the same files. */
  async forget(key) {
    const id = forget(key);
    if (!id || id === NONE || isChosen(id)) return;
    if (lastChoice() === id) rememberLast(DEMO);
    this.#opened.delete(id);
    const { database } = await this.#store();
    // A tool that still runs stores its changes first.
    await inTurn(id, () => deleteWorkspace(database, id));
  }

  /** Get ready for a message: an empty session that was opened by its name gets a workspace, too, and agents the news. */
  async beforeMessage(session) {
    if (!choiceOf(session.key) && !session.state.number && !this.#of.has(session.key)) await this.#give(session, lastChoice());
    const workspace = this.#of.get(session.key);
    if (!workspace || workspace.isLocked) return;
    const facts = workspace.facts();
    if (JSON.stringify(facts) !== JSON.stringify(session.workspace)) session.setWorkspace(facts);
  }

  /** Open the demo project in the open session. */
  async openDemo() {
    rememberLast(DEMO);
    await this.#give(this.#session, DEMO);
  }

  /** Work without files in the open session. */
  close() {
    rememberLast(NONE);
    return this.#give(this.#session, NONE);
  }

  /** Have the demo project as it was at first, in the open session. */
  async resetDemo() {
    const { current } = this;
    current.files.reset(DEMO_FILES);
    await current.replaceAll();
  }

  /** Work in a folder on the person's disk. */
  async openFolder(handle) {
    const { FolderFiles } = await loadFolders();
    const id = newId("folder", `${handle.name} ${Date.now()}`);
    const workspace = await this.#make({ id, name: handle.name, kind: "folder", files: new FolderFiles(handle) });
    await workspace.store();
    rememberLast(id);
    await this.#give(this.#session, id);
  }

  /** Ask the person again for a folder that the browser does not let the page into any more. */
  async allow() {
    const { current } = this;
    if (!(await current.files.allow())) return;
    await current.refresh();
    for (const [key, workspace] of this.#of) if (workspace === current) this.#sessions.get(key)?.setTools(current.tools, current.facts());
  }

  /** Open files in memory: {path: bytes}. */
  async openFiles(name, contents) {
    const workspace = await this.#make({ id: newId("upload", `${name} ${Date.now()}`), name, kind: "upload", files: new MemoryFiles(contents) });
    await workspace.store();
    rememberLast(workspace.id);
    await this.#give(this.#session, workspace.id);
  }

  async #give(session, choice) {
    const id = choice === DEMO ? newId(DEMO, session.key) : choice;
    const workspace = id === NONE ? null : await this.#open(id);
    if (session.connectionState === "closed") return; // meanwhile
    // A browser that cannot open its database now may do so later.
    if (workspace || id === NONE || !choiceOf(session.key)) remember(session.key, workspace ? id : NONE);
    this.#of.set(session.key, workspace);
    this.#sessions.set(session.key, session);
    // Calls wait until the person lets the page into the folder.
    if (workspace?.isLocked) session.setTools(undefined);
    else if (workspace) session.setTools(workspace.tools, workspace.facts());
    // "Tools: none" is for the session; a developer who answers by hand wants the calls that every client gets.
    else session.setTools(isAnsweredByHand() ? undefined : [], session.workspace && {});
    if (session === this.#session) this.#tell([]);
  }

  #followOtherTabs() {
    for (const [key, session] of this.#sessions) {
      const choice = choiceOf(key);
      if (choice && choice !== (this.#of.get(key)?.id ?? NONE)) this.#give(session, choice);
    }
  }

  async #open(id) {
    if (this.#opened.has(id)) return this.#opened.get(id);
    if (id.startsWith(newId(DEMO, ""))) return this.#make({ id, name: DEMO_NAME, kind: DEMO, files: new MemoryFiles(DEMO_FILES) });
    const { database } = await this.#store();
    // Another user of this browser may have chosen last.
    const record = isMine(id) && (await database?.get("workspaces", id));
    if (!record) return null;
    const files = record.handle ? new (await loadFolders()).FolderFiles(record.handle) : new MemoryFiles();
    return this.#make({ id, name: record.name, kind: record.kind, files });
  }

  async #make(fields) {
    const workspace = new Workspace(fields, await this.#store());
    this.#opened.set(fields.id, workspace);
    workspace.onChange((paths) => workspace === this.current && this.#tell(paths));
    await workspace.refresh();
    return workspace;
  }

  /** Return the database and the journal, which are opened once. */
  #store() {
    // The first paint comes first.
    if (!this.#storage) setTimeout(() => import("./tools.js"), TOOLS_DELAY_MS);
    this.#storage ??= Database.open().then((database) => {
      channel?.addEventListener("message", ({ data: id }) => this.#opened.get(id)?.refresh());
      deleteUnused(database, (id) => isMine(id) && !isChosen(id) && lastChoice() !== id);
      return { database, journal: new Journal(database) };
    });
    return this.#storage;
  }

  #tell(paths) {
    for (const listener of this.#listeners) listener(paths);
  }
}

export const workspace = new OpenWorkspace();
