/** @codelab/client: sessions of CodeLab AI Service, in browsers and in Node. */

export { CLOSE_DELETED, CLOSE_NOT_SIGNED_IN, Connection } from "./connection.js";
export { Session } from "./session.js";
export { apply, EMPTY_STATE, fromSnapshot, openTurns } from "./state.js";
