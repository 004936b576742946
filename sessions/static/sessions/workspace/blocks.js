/** The format of apply_diff: blocks of lines to find, each with the lines that replace them (docs/protocol.md). */

const [SEARCH, MIDDLE, REPLACE] = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"];
const MAX_SHOWN_CHARACTERS = 80;
// More places than this are not counted.
const MAX_COUNTED = 100;

/** Return the blocks of a diff: [{search, replace}], lists of lines without their ends. Lines outside are ignored. */
export function parseBlocks(diff) {
  const blocks = [];
  let block = { search: [], replace: [] };
  let expected = SEARCH; // the marker that comes next
  for (const line of diff.split("\n")) {
    const mark = line.trimEnd();
    if (![SEARCH, MIDDLE, REPLACE].includes(mark)) {
      if (expected !== SEARCH) block[expected === MIDDLE ? "search" : "replace"].push(line.replace(/\r$/, ""));
    } else if (mark !== expected) {
      throw new Error(`Block ${blocks.length + 1} of \`diff\` is broken: ${mark} stands where ${expected} should be.`);
    } else if (mark === REPLACE) {
      blocks.push(block);
      [block, expected] = [{ search: [], replace: [] }, SEARCH];
    } else expected = mark === SEARCH ? MIDDLE : REPLACE;
  }
  if (expected !== SEARCH) throw new Error(`Block ${blocks.length + 1} of \`diff\` is broken: ${expected} is missing.`);
  if (!blocks.length) throw new Error(`\`diff\` has no block of ${SEARCH}, ${MIDDLE}, ${REPLACE}, each on its own line.`);
  return blocks;
}

/**
 * Return the text with all blocks applied, in order. Throws an error that names the block that does not fit. New lines get
 * the ends of the lines that they replace, so a file with CRLF keeps them.
 */
export function applyBlocks(text, blocks, path) {
  return blocks.reduce((result, block, place) => applyBlock(result, block, `Block ${place + 1} of ${blocks.length}`, path), text);
}

function applyBlock(text, block, name, path) {
  if (!block.search.length) {
    if (text) throw new Error(`${name}: the SEARCH part is empty, so the place in ${path} is not known.`);
    return block.replace.map((line) => `${line}\n`).join("");
  }
  // Compared in one piece, with a line end before and behind each line: `indexOf` takes linear time.
  let lines = `\n${text.replaceAll("\r\n", "\n")}`;
  if (!lines.endsWith("\n")) lines += "\n";
  const wanted = `\n${block.search.join("\n")}\n`;
  const first = lines.indexOf(wanted);
  let count = 0;
  for (let place = first; place >= 0 && count < MAX_COUNTED; place = lines.indexOf(wanted, place + 1)) count += 1;
  if (count !== 1) throw new Error(explain(count, block, name, path, lines));
  return replaceLines(text, lines.slice(0, first).split("\n").length - 1, block);
}

/** Replace as many lines as the block has to find, from the one counted from 0. */
function replaceLines(text, first, { search, replace }) {
  // Behind the last line end `split` leaves a piece that is empty, or is a line without an end.
  const old = text.split("\n");
  const last = first + search.length;
  const isOpen = last === old.length;
  let ends = old.slice(first, last - isOpen).map((line) => (line.endsWith("\r") ? "\r\n" : "\n"));
  if (!ends.length) ends = [text.includes("\r\n") ? "\r\n" : "\n"];
  const lines = replace.map((line, place) => line + ends[Math.min(place, ends.length - 1)]);
  if (isOpen && lines.length) lines[lines.length - 1] = replace.at(-1);
  return old.slice(0, first).map((line) => `${line}\n`).join("") + lines.join("") + old.slice(last).join("\n");
}

function explain(count, { search }, name, path, lines) {
  const shown = search[0].length <= MAX_SHOWN_CHARACTERS ? search[0] : `${search[0].slice(0, MAX_SHOWN_CHARACTERS)}…`;
  const about = `${name}: the SEARCH part, which begins with "${shown}", was found`;
  if (count) {
    const often = count < MAX_COUNTED ? `${count} times` : `at least ${count} times`;
    return `${about} ${often} in ${path}. It must match exactly one place: add lines around it. No block was applied.`;
  }
  const stripped = search[0].trim();
  const near = stripped ? lines.split("\n").findIndex((line) => line.trim() === stripped) : -1;
  const hint = near > 0 ? ` A line like its first one is line ${near}; compare blanks and the lines that follow.` : "";
  return `${about} 0 times in ${path}.${hint} No block was applied. Read the file again.`;
}
