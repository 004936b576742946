/**
 * What workspaces keep on this device: files, handles of folders, and the journal of tool calls. A page that may store
 * nothing works without; then a reload forgets.
 */

const NAME = "codelab-workspaces";
const VERSION = 1;
const OPEN_TIMEOUT_MS = 2000;

export class Database {
  #database;

  constructor(database) {
    this.#database = database;
    // A page of a newer version waits for this one.
    database.onversionchange = () => database.close();
  }

  /** Open the database; null where the browser does not let the page, or takes too long. */
  static open() {
    const opening = new Promise((resolve) => {
      try {
        const request = indexedDB.open(NAME, VERSION);
        request.onupgradeneeded = () => {
          const stores = request.result;
          stores.createObjectStore("workspaces", { keyPath: "id" });
          stores.createObjectStore("files", { keyPath: ["workspace", "path"] });
          stores.createObjectStore("calls", { keyPath: "id" }).createIndex("began", "began");
        };
        request.onsuccess = () => resolve(new Database(request.result));
        request.onerror = () => resolve(null);
      } catch {
        resolve(null);
      }
    });
    return Promise.race([opening, new Promise((resolve) => setTimeout(resolve, OPEN_TIMEOUT_MS, null))]);
  }

  get(store, key) {
    return this.#run("readonly", [store], ([objects]) => objects.get(key));
  }

  /** Return the records of a store, or those with keys in a range. */
  all(store, range) {
    return this.#run("readonly", [store], ([objects]) => objects.getAll(range));
  }

  put(store, record) {
    return this.#run("readwrite", [store], ([objects]) => objects.put(record));
  }

  /** Change several stores in one transaction: all or nothing, and on disk when the promise resolves. */
  change(stores, work) {
    return this.#run("readwrite", stores, work);
  }

  #run(mode, stores, work) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(stores, mode, { durability: mode === "readwrite" ? "strict" : "default" });
      const request = work(stores.map((store) => transaction.objectStore(store)));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

/** Return the range of all files of a workspace. */
export function filesOf(workspace) {
  return IDBKeyRange.bound([workspace, ""], [workspace, "\uffff"]);
}
