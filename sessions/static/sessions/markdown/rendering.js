/**
 * Asks the server for documents. What is asked at about the same time goes in one request, and one request is under way
 * at a time.
 */

const PATH = "/api/v1/markdown";
const MAX_TEXTS = 50;
const MAX_CHARACTERS = 200_000; // of a text, and of a request
const GATHER_MS = 20;
const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;

export class Rendering {
  #queue = [];
  #isWorking = false;
  #isConnected = true;
  #retryMs = MIN_RETRY_MS;

  constructor({ request = (body) => fetch(PATH, body) } = {}) {
    this.request = request;
  }

  /** Ask only while the server can be reached: texts wait for that as they are. */
  setConnected(isConnected) {
    this.#isConnected = isConnected;
    if (isConnected) this.#retryMs = MIN_RETRY_MS;
    this.#work();
  }

  /** Return the document of a text, or null if it stays plain text. An open text has its finished blocks. */
  render(text, { open = false } = {}) {
    if (text.length > MAX_CHARACTERS || text.isWellFormed?.() === false) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#queue.push({ text, open, resolve });
      this.#work();
    });
  }

  async #work() {
    if (this.#isWorking || !this.#isConnected || !this.#queue.length) return;
    this.#isWorking = true;
    await pause(GATHER_MS);
    const batch = this.#take();
    const documents = await this.#ask(batch);
    if (!documents) {
      this.#queue.unshift(...batch);
      await pause(this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
    } else {
      this.#retryMs = MIN_RETRY_MS;
      batch.forEach(({ resolve }, index) => resolve(documents[index]));
    }
    this.#isWorking = false;
    this.#work();
  }

  /** Take texts of one kind from the queue: open ones first, which people see growing. */
  #take() {
    const open = this.#queue.some((one) => one.open);
    const batch = [];
    let characters = 0;
    for (const one of this.#queue) {
      if (one.open !== open) continue;
      characters += one.text.length;
      if (batch.length === MAX_TEXTS || (batch.length && characters > MAX_CHARACTERS)) break;
      batch.push(one);
    }
    this.#queue = this.#queue.filter((one) => !batch.includes(one));
    return batch;
  }

  /** Return the documents, nulls for a request that will never be served, or null if it may be served later. */
  async #ask(batch) {
    const body = JSON.stringify({ texts: batch.map(({ text }) => text), open: batch[0].open });
    try {
      const response = await this.request({ method: "POST", headers: { "Content-Type": "application/json" }, body });
      if (response.ok) return (await response.json()).documents;
      return response.status === 429 || response.status >= 500 ? null : batch.map(() => null);
    } catch {
      return null; // no connection
    }
  }
}

export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
