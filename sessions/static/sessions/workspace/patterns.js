/** Patterns of names that models give, such as `*.{ts,tsx}` and `src/*.py`. */

const MAX_ALTERNATIVES = 200;
const BRACES = /\{([^{}]*)\}/;

/**
 * Return a function that says whether a path matches a pattern. `*` and `?` stay within a name and `**` spans folders. A
 * pattern without `/` is about the last name, at any depth.
 */
export function matcher(text) {
  let alternatives = [text];
  while (alternatives.some((one) => BRACES.test(one))) {
    alternatives = alternatives.flatMap(expand);
    if (alternatives.length > MAX_ALTERNATIVES) throw new Error(`The pattern "${text.slice(0, 80)}" has too many alternatives.`);
  }
  const patterns = alternatives.map((one) => ({ isName: !one.includes("/"), parts: one.replace(/^\.\//, "").split("/") }));
  return (path) => {
    const names = path.split("/");
    return patterns.some(({ isName, parts }) => matches(parts, isName ? names.slice(-1) : names, (part, name) => part === "**" || hasStars(part, name)));
  };
}

function expand(text) {
  const braces = BRACES.exec(text);
  if (!braces) return [text];
  return braces[1].split(",").map((choice) => text.slice(0, braces.index) + choice + text.slice(braces.index + braces[0].length));
}

/** Compare lists with `**` for any number of names, in time that is their product. */
function matches(parts, names, isSame) {
  let reached = skip(new Set([0]), parts);
  for (const name of names) {
    const next = new Set();
    for (const place of reached) {
      if (place === parts.length) continue;
      if (parts[place] === "**" && parts.length > 1) next.add(place);
      else if (isSame(parts[place], name)) next.add(place + 1);
    }
    reached = skip(next, parts);
  }
  return reached.has(parts.length);
}

function skip(reached, parts) {
  for (const place of reached) if (parts[place] === "**" && parts.length > 1) reached.add(place + 1);
  return reached;
}

/** Compare a name with `*`, `?` and `[a-z]`, going back to the last star only: never exponential. */
function hasStars(pattern, name) {
  const signs = pattern.match(/\[!?\]?[^\]]*\]|./gsu) ?? [];
  const letters = [...name];
  let [sign, letter, star, mark] = [0, 0, -1, 0];
  while (letter < letters.length) {
    if (signs[sign] === "*") [star, mark] = [sign++, letter];
    else if (sign < signs.length && isOne(signs[sign], letters[letter])) [sign, letter] = [sign + 1, letter + 1];
    else if (star >= 0) [sign, letter] = [star + 1, ++mark];
    else return false;
  }
  while (signs[sign] === "*") sign += 1;
  return sign === signs.length;
}

function isOne(sign, letter) {
  if (sign === "?") return true;
  if (sign.length < 3 || sign[0] !== "[") return sign === letter;
  const isNot = sign[1] === "!";
  const letters = [...sign.slice(isNot ? 2 : 1, -1)];
  const has = letters.some((one, at) => one === letter || (letters[at + 1] === "-" && letters[at + 2] && one <= letter && letter <= letters[at + 2]));
  return has !== isNot;
}
