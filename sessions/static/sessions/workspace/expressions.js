/**
 * Searches by regular expressions. One of a model can take exponential time, so it runs in a worker, which is ended when it
 * takes too long: the page never stops.
 */

const MAX_FILE_MS = 1000;

/** Return the lines that match, as [number from 1, text]. */
export function matchingLines(expression, text) {
  return text.split("\n").flatMap((line, place) => (expression.test(line) ? [[place + 1, line.replace(/\r$/, "")]] : []));
}

export class ExpressionSearch {
  #source;
  #flags;
  #expression;
  #worker = null;

  /** Throws for what is no expression. */
  constructor(source, flags) {
    this.#expression = new RegExp(source, flags);
    [this.#source, this.#flags] = [source, flags];
  }

  /** Return the lines of a text that match. Rejects when it takes too long. */
  async find(text) {
    // Node, which tests run in, has another kind of worker.
    if (!globalThis.Worker) return matchingLines(this.#expression, text);
    this.#worker ??= new Worker(new URL("./expression-worker.js", import.meta.url), { type: "module" });
    return new Promise((resolve, reject) => {
      const fail = () => {
        this.close();
        reject(new Error("The expression takes too long."));
      };
      const timer = setTimeout(fail, MAX_FILE_MS);
      this.#worker.onmessage = ({ data }) => {
        clearTimeout(timer);
        resolve(data);
      };
      this.#worker.onerror = fail;
      this.#worker.postMessage({ source: this.#source, flags: this.#flags, text });
    });
  }

  close() {
    this.#worker?.terminate();
    this.#worker = null;
  }
}
