/** The page for the account: wires its sections, each of which reads and changes its part through the REST API. */

import { t } from "../language.js";
import { api } from "./api.js";
import { ApiKeys } from "./api_keys.js";
import { Budgets, Rules } from "./limits.js";
import { ProviderKeys } from "./provider_keys.js";
import { Shortcuts } from "./shortcuts.js";
import { Themes } from "./themes.js";

const find = (id) => document.getElementById(id);

/** Run an action, say the text when it succeeds, and show why it fails. */
async function attempt(action, text = "") {
  find("notice").hidden = true;
  find("done").textContent = "";
  try {
    await action();
    find("done").textContent = text;
  } catch (error) {
    find("notice").textContent = error.message;
    find("notice").hidden = false;
    if (error.isNotSignedIn) find("sign-in").hidden = false;
  }
}

async function showUser() {
  const { username: name, signed_in: isSignedIn } = await api("/account");
  find("sign-in").hidden = isSignedIn;
  find("who").textContent = isSignedIn
    ? t("You are signed in as {name}.", { name })
    : t("On this machine you can work without signing in, as {name}.", { name });
}

async function load() {
  try {
    await showUser();
  } catch (error) {
    find("who").textContent = error.message;
    find("sign-in").hidden = !error.isNotSignedIn;
    document.body.classList.toggle("signed-out", error.isNotSignedIn);
    return;
  }
  const sections = [new ApiKeys(attempt), new ProviderKeys(attempt), new Budgets(), new Rules(attempt)];
  await attempt(() => Promise.all(sections.map((section) => section.load())));
}

new Themes(find("themes"));
const shortcuts = new Shortcuts();
find("keys").addEventListener("click", () => shortcuts.open());
load();
