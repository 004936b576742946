/** The user's own keys for model providers. The server never sends one back. */

import { dayText, t } from "../language.js";
import { element } from "../render.js";
import { api } from "./api.js";
import { facts, nameNode, riskyButton, Rows } from "./rows.js";

const find = (id) => document.getElementById(id);

export class ProviderKeys {
  /** `attempt(action, text)` runs an action, shows its error, and says the text when it succeeds. */
  constructor(attempt) {
    this.attempt = attempt;
    this.rows = new Rows("provider-keys", (key) => this.#row(key), find("provider-title"));
    find("new-provider-key").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => this.#store(event.target), t("The key is stored."));
    });
  }

  async load() {
    const { provider_keys: keys, providers } = await api("/provider-keys");
    if (!find("provider").length) {
      find("provider").replaceChildren(...providers.map((name) => element("option", { value: name }, name)));
    }
    this.rows.show(keys);
  }

  async #store(form) {
    const data = new FormData(form);
    const body = { api_key: data.get("key"), api_base: data.get("address") };
    await api(`/provider-keys/${encodeURIComponent(data.get("provider"))}`, { method: "PUT", body });
    form.reset();
    await this.load();
  }

  #row({ provider, last_four: lastFour, api_base: address, updated_at: updatedAt }) {
    const line = facts(lastFour && `…${lastFour}`, address, t("stored on {day}", { day: dayText(new Date(updatedAt)) }));
    const remove = () => this.attempt(() => this.#remove(provider), t("The key is deleted."));
    return [nameNode(provider), line, riskyButton(t("Delete"), t("Delete for good"), provider, remove)];
  }

  async #remove(provider) {
    await api(`/provider-keys/${encodeURIComponent(provider)}`, { method: "DELETE" });
    await this.load();
  }
}
