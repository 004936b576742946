/**
 * Runs each tool call at most once, also when the page is reloaded between running a tool and telling the server. That a
 * call begins is stored before it runs, and its outcome before it is told, together with the files that it changed.
 */

const MAX_AGE_MS = 7 * 86_400_000; // the server waits 24 hours for a result

export class Journal {
  #database;

  /** Without a database it forgets at a reload, and then the server asks a person. */
  constructor(database) {
    this.#database = database;
    this.#cleanUp();
  }

  /**
   * Run `work()` unless the call has its outcome: return what it returned, or throw what it threw. `save(outcome)`
   * returns changes to be stored with the outcome, as `{stores, apply}`; with `isAtomic` nothing else had an effect, so a
   * call that began and did not end may run again.
   */
  async once(id, call, { workspace, work, save, isAtomic }) {
    const fingerprint = JSON.stringify([call.name, call.arguments]);
    const entry = { id, fingerprint, workspace };
    const earlier = await this.#begin(entry);
    if (earlier) {
      if (earlier.fingerprint !== fingerprint) throw new Error("Another call with this id has run already, so this one was not run.");
      if (earlier.outcome) return take(earlier.outcome);
      if (!isAtomic) return take(await this.#finish(entry, { error: unknownText(call.name) }));
    }
    return take(await this.#finish(entry, await outcomeOf(work), save));
  }

  async #begin(entry) {
    const earlier = await this.#database?.get("calls", entry.id);
    if (!earlier) await this.#database?.put("calls", { ...entry, began: Date.now() });
    return earlier;
  }

  async #finish(entry, outcome, save) {
    const changes = await save?.();
    const stores = ["calls", ...(changes?.stores ?? [])];
    try {
      await this.#database?.change(stores, ([calls, ...others]) => {
        calls.put({ ...entry, began: Date.now(), outcome });
        changes?.apply(others);
      });
    } catch {
      // The disk is full: the server is told all the same, and only a reload would forget.
    }
    return outcome;
  }

  #cleanUp() {
    const old = globalThis.IDBKeyRange?.upperBound(Date.now() - MAX_AGE_MS);
    this.#database?.change(["calls"], ([calls]) => {
      calls.index("began").openKeyCursor(old).onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor) return;
        calls.delete(cursor.primaryKey);
        cursor.continue();
      };
    });
  }
}

async function outcomeOf(work) {
  try {
    return { result: await work() };
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
}

function take({ result, error }) {
  if (error !== undefined) throw new Error(error);
  return result;
}

function unknownText(name) {
  return (
    `unknown: the page ended while ${name} ran. It may have had its whole effect, a part of it, or none. It was not run` +
    " again. Look at the files before you go on."
  );
}
