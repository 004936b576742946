/**
 * Names the characters of a text that cannot be seen, or that turn the order of others round, so that a person approves
 * what runs and not what it looks like. The server does the same for `display` (agents/display.py); this is for texts
 * that only the page has: files of the workspace, and what a person types.
 */

// Scripts whose spelling needs joiners.
const JOINING = "[\\p{scx=Arab}\\p{scx=Syrc}\\p{scx=Mong}\\p{scx=Deva}\\p{scx=Beng}\\p{scx=Guru}\\p{scx=Gujr}\\p{scx=Taml}\\p{scx=Telu}\\p{scx=Knda}\\p{scx=Mlym}\\p{scx=Sinh}]";
const ONE_EMOJI = "\\p{Extended_Pictographic}\\ufe0f?[\\u{1f3fb}-\\u{1f3ff}]?";
const ORDINARY = `${ONE_EMOJI}(?:\\u200d${ONE_EMOJI})*|[0-9#*]\\ufe0f\\u20e3|(?<=${JOINING})[\\u200c\\u200d](?=${JOINING})`;
const FILLERS = "\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u2800\\u3164\\uffa0\\ufffc\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}";
const HIDDEN = `(?:(?![\\t\\n ])[\\p{Cc}\\p{Cf}\\p{Co}\\p{Cn}\\p{Cs}\\p{Zs}\\p{Zl}\\p{Zp}${FILLERS}])+`;
const PATTERN = new RegExp(`(?<ordinary>${ORDINARY})|(?<hidden>${HIDDEN})`, "gu");
// Of a run of hidden characters so many are named one by one.
const MAX_NAMED = 4;

/** Return the text in parts: {text, isHidden}. The text of a hidden one is its name. */
export function nameHidden(text) {
  const parts = [];
  let end = 0;
  for (const { 0: run, index, groups } of text.matchAll(PATTERN)) {
    if (!groups.hidden) continue;
    if (index > end) parts.push({ text: text.slice(end, index), isHidden: false });
    parts.push({ text: nameOf(run), isHidden: true });
    end = index + run.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), isHidden: false });
  return parts;
}

export function hasHidden(text) {
  return nameHidden(text).some(({ isHidden }) => isHidden);
}

/** Return the parts of a text that the server has written for people: its marks are in ⟨ ⟩. */
export function splitMarks(text) {
  const parts = text.split(/(⟨[^⟩\n]{1,40}⟩)/);
  return parts.map((part, index) => ({ text: part, isHidden: index % 2 === 1 })).filter((part) => part.text);
}

function nameOf(run) {
  const characters = [...run];
  const isOne = characters.every((each) => each === characters[0]);
  if (isOne && characters.length > 1) return `⟨${characters.length} × ${codeOf(characters[0])}⟩`;
  const names = characters.slice(0, MAX_NAMED).map((each) => `⟨${codeOf(each)}⟩`);
  const rest = characters.length - MAX_NAMED;
  return names.join("") + (rest > 0 ? `⟨+${rest}⟩` : "");
}

function codeOf(character) {
  return `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}
