/**
 * Who the client is: a token or an API key, tokens that are refreshed in time, or a function that returns a ticket.
 *
 * A refresh token is good once. So refreshes never run side by side, and `save` gets the new tokens before they are used.
 */

import { CodelabError } from "./errors.js";

const CLIENT_ID = "codelab-flutter-app";
// A request takes time, so a token is refreshed so long before its end.
const MARGIN_MS = 60_000;

/** Return tokens {access, refresh, expiresAt} for a name and a password. */
export function signIn(url, username, password, { clientId = CLIENT_ID } = {}) {
  return requestTokens(url, { grant_type: "password", username, password, client_id: clientId });
}

export class Credentials {
  /**
   * One of: `token`, a token or an API key, or a function that returns one for each socket; `login`, {username, password};
   * `tokens` of `signIn`, with `save(tokens)` for new ones; `ticket(name)`, which returns a ticket for a socket of this
   * session. Without any the server knows the browser by its cookie, or has open access.
   */
  constructor(url, { token, login, tokens, save, ticket, clientId = CLIENT_ID } = {}) {
    Object.assign(this, { url, tokenOf: token, login, tokens, save, ticket, clientId });
  }

  /** Return a token that is valid, or null. */
  async token() {
    if (typeof this.tokenOf === "function") return this.tokenOf();
    if (!this.tokens && !this.login) return this.tokenOf ?? null;
    const { access, expiresAt = 0 } = this.tokens ?? {};
    return Date.now() < expiresAt - MARGIN_MS ? access : this.#refresh();
  }

  /** Return {protocols, query} that open a socket of this session. */
  async forSocket(name) {
    if (this.ticket) return { protocols: [], query: { ticket: await this.ticket(name) } };
    const token = await this.token();
    return { protocols: token ? [`codelab.token.${token}`] : [], query: {} };
  }

  /** Whether a refused socket is worth another try: with a new token or ticket. */
  get isRenewable() {
    return Boolean(this.ticket || this.login || this.tokens?.refresh || typeof this.tokenOf === "function");
  }

  /** Do not use the present token again: the server has refused it. */
  forgetToken() {
    if (this.tokens) this.tokens = { ...this.tokens, expiresAt: 0 };
  }

  #refresh() {
    this.refreshing ??= this.#requestFresh().finally(() => (this.refreshing = null));
    return this.refreshing;
  }

  async #requestFresh() {
    const tokens = await this.#freshTokens();
    await this.save?.(tokens);
    this.tokens = tokens;
    return tokens.access;
  }

  async #freshTokens() {
    const { url, clientId, login } = this;
    const refresh = this.tokens?.refresh;
    if (refresh) {
      try {
        return await requestTokens(url, { grant_type: "refresh_token", refresh_token: refresh, client_id: clientId });
      } catch (error) {
        if (!login || error.code !== "invalid_grant") throw error;
      }
    }
    if (!login) throw new CodelabError("TOKEN_EXPIRED", "The token is not valid any more. Sign in again.");
    return signIn(url, login.username, login.password, { clientId });
  }
}

async function requestTokens(url, form) {
  const response = await fetch(new URL("/oauth/token", url), { method: "POST", body: new URLSearchParams(form) });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new CodelabError(body.error ?? "server_error", body.error_description ?? `HTTP ${response.status}`);
  }
  return { access: body.access_token, refresh: body.refresh_token, expiresAt: Date.now() + body.expires_in * 1000 };
}
