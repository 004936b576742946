/** The user's API keys. The page shows a new one once, and forgets it when the user has stored it. */

import { dateText, dayText, t } from "../language.js";
import { api } from "./api.js";
import { facts, nameNode, riskyButton, Rows } from "./rows.js";

const MS_PER_DAY = 86_400_000;
const find = (id) => document.getElementById(id);
const SCOPE_TEXTS = { "api:read": t("reads"), "api:write": t("writes"), llm: t("models") };

export class ApiKeys {
  /** `attempt(action, text)` runs an action, shows its error, and says the text when it succeeds. */
  constructor(attempt) {
    this.attempt = attempt;
    this.rows = new Rows("api-keys", (key) => this.#row(key), find("api-title"));
    find("new-api-key").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => this.#create(event.target), t("The key is created."));
    });
    find("copy-key").addEventListener("click", () => attempt(() => copy(find("fresh-secret")), t("Copied.")));
    find("hide-key").addEventListener("click", () => {
      find("fresh-secret").value = "";
      find("fresh-key").hidden = true;
      find("key-name").focus();
    });
  }

  async load() {
    const { api_keys: keys } = await api("/api-keys");
    this.rows.show(keys);
  }

  async #create(form) {
    const data = new FormData(form);
    const days = Number(data.get("days"));
    const body = {
      name: data.get("name"),
      scopes: data.getAll("scope"),
      expires_at: days ? new Date(Date.now() + days * MS_PER_DAY).toISOString() : null,
    };
    const { key } = await api("/api-keys", { method: "POST", body });
    form.reset();
    find("fresh-key").hidden = false;
    find("fresh-secret").value = key;
    find("fresh-secret").focus();
    find("fresh-secret").select();
    await this.load();
  }

  #row(key) {
    const { id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at } = key;
    const day = (text) => dayText(new Date(text));
    const isExpired = expires_at && new Date(expires_at) <= new Date();
    const state = revoked_at
      ? t("revoked on {day}", { day: day(revoked_at) })
      : isExpired
        ? t("expired on {day}", { day: day(expires_at) })
        : expires_at
          ? t("expires on {day}", { day: day(expires_at) })
          : t("never expires");
    const line = facts(
      `${prefix}…`,
      scopes.map((scope) => SCOPE_TEXTS[scope] ?? scope).join(", "),
      t("created on {day}", { day: day(created_at) }),
      last_used_at ? t("last used {time}", { time: dateText(new Date(last_used_at)) }) : t("never used"),
      state,
    );
    const nodes = [nameNode(name, revoked_at || isExpired ? { class: "past" } : {}), line];
    if (revoked_at) return nodes;
    const revoke = () => this.attempt(() => this.#revoke(id), t("The key is revoked."));
    return [...nodes, riskyButton(t("Revoke"), t("Revoke for good"), name, revoke)];
  }

  async #revoke(id) {
    await api(`/api-keys/${id}`, { method: "DELETE" });
    await this.load();
  }
}

async function copy(field) {
  field.select();
  // Browsers have the clipboard on https and localhost only.
  if (navigator.clipboard) await navigator.clipboard.writeText(field.value);
  else document.execCommand("copy");
}
