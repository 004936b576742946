/**
 * The texts of the page in the language of its user. The English text is the key.
 *
 * `t` and `tn` take literals only, so that a test can compare them with the files in `language/`. They work while modules
 * load: the server puts the translations into the page.
 */

const block = globalThis.document?.getElementById("translations");
const translations = block ? JSON.parse(block.textContent) : {};
const FORMS = { one: 0, few: 1, many: 2, other: 1 }; // of Russian, by the category of Intl.PluralRules

/** The code of the page's language. */
export const language = globalThis.document?.documentElement.lang || "en";

const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

/** Return the text in the page's language, with `values` for its {names}. */
export function t(text, values = {}) {
  return fill(translations[text] ?? text, values);
}

/** Return the form that fits the count: tn(count, "{count} message", "{count} messages"). */
export function tn(count, one, many, values = {}) {
  const forms = translations[many];
  const text = forms ? forms[FORMS[plurals.select(count)]] : plurals.select(count) === "one" ? one : many;
  return fill(text, { count: numbers.format(count), ...values });
}

/** Return an error of the server in the page's language: its sentence with its facts, or what its code means. */
export function errorText(code, text = "") {
  return sentenceIn(text) ?? translations[`error ${code}`] ?? text;
}

/** Return a sentence of the server in the page's language, as it is where the page does not know it. */
export function serverText(text) {
  return sentenceIn(text) ?? text;
}

// The English sentences of the server have facts at their {names}, and a fact may be a clause of the server, too.
const SENTENCE = "sentence ";
const patterns = Object.keys(translations)
  .filter((key) => key.startsWith(SENTENCE) && key.includes("{"))
  .sort((one, other) => literals(other) - literals(one))
  .map((key) => ({ key, pattern: new RegExp(`^${escape(key.slice(SENTENCE.length)).replace(/\\\{(\w+)\\\}/g, "(?<$1>.+?)")}$`, "s") }));

function sentenceIn(text) {
  const whole = translations[SENTENCE + text];
  if (whole) return whole;
  for (const { key, pattern } of patterns) {
    const groups = pattern.exec(text)?.groups;
    if (groups) return fill(translations[key], Object.fromEntries(Object.entries(groups).map(([name, fact]) => [name, serverText(fact)])));
  }
  return undefined;
}

/** Return how many characters of a sentence are its own: the pattern with the most is the closest one. */
function literals(key) {
  return key.replace(/\{\w+\}/g, "").length;
}

function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

/** Return an amount of US dollars; small ones with more digits. */
export function dollars(amount) {
  const digits = amount && amount < 0.1 ? 4 : 2;
  return new Intl.NumberFormat(language, { style: "currency", currency: "USD", maximumFractionDigits: digits }).format(amount);
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (name, key) => String(values[key] ?? name));
}

// Times: the clock has 24 hours, as in the admin. A browser of the page's language says how its country writes dates.
const locale = globalThis.navigator?.language?.startsWith(language) ? navigator.language : language;
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

/** Return hours and minutes. */
export const timeText = (date) => date.toLocaleTimeString(locale, CLOCK);

/** Return hours, minutes and seconds. */
export const secondsText = (date) => date.toLocaleTimeString(locale, { ...CLOCK, second: "2-digit" });

/** Return the day. */
export const dayText = (date) => date.toLocaleDateString(locale);

/** Return the day and the time. */
export const dateText = (date) => `${dayText(date)} ${timeText(date)}`;
