/** What goes wrong, with a stable `code` of the server's protocol and a sentence for people. */

export class CodelabError extends Error {
  constructor(code, message, { retryAfter } = {}) {
    super(message);
    this.name = "CodelabError";
    this.code = code;
    this.retryAfter = retryAfter; // seconds, where another try is worth it
  }
}

/** A turn ended without an answer: `code` is `cancelled`, or what the model's failure is called. */
export class TurnFailed extends CodelabError {
  constructor(code, message, turnId) {
    super(code, message);
    this.name = "TurnFailed";
    this.turnId = turnId;
  }
}
