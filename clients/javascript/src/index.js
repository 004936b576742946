/** @codelab/client: sessions of CodeLab AI Service, in browsers and in Node. */

export { Client } from "./client.js";
export { CLOSE_DELETED, CLOSE_NOT_SIGNED_IN, Connection } from "./connection.js";
export { Credentials, signIn } from "./credentials.js";
export { CodelabError, TurnFailed } from "./errors.js";
export { Session } from "./session.js";
export { apply, EMPTY_STATE, fromSnapshot, openTurns } from "./state.js";
