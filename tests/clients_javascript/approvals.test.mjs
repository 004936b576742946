/** The pure modules behind approvals: differences, hidden characters, and what arguments say of a change. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { changesOf, subjectOf } from "./approvals/changes.js";
import { nameHidden, splitMarks } from "./approvals/hidden.js";
import { countChanges, diffBlocks, NO_LINE_BREAK, splitLines, unifiedFiles } from "./approvals/lines.js";

const named = (text) => nameHidden(text).map((part) => part.text).join("");

/** Return the text that one side of the blocks shows. */
function side(blocks, name) {
  return blocks.flatMap((block) => (block.kind === "same" ? block.lines : block[name]).map(({ text }) => text));
}

test("a difference has each line of both texts once, in order", () => {
  let seed = 1;
  const random = (bound) => (seed = (seed * 48271) % 2147483647) % bound;
  const text = () => Array.from({ length: random(12) }, () => "abc"[random(3)]).join("\n") + (random(2) ? "\n" : "");
  for (let round = 0; round < 3000; round++) {
    const [before, after] = [text(), text()];
    if (before === after) continue;
    const blocks = diffBlocks(before, after, { context: Infinity });
    assert.deepEqual(side(blocks, "removed"), splitLines(before));
    assert.deepEqual(side(blocks, "added"), splitLines(after));
    for (const block of blocks.filter(({ kind }) => kind === "same")) {
      for (const line of block.lines) assert.equal(splitLines(before)[line.before - 1], splitLines(after)[line.after - 1]);
    }
  }
});

test("a difference is small, and leaves out what is the same", () => {
  const before = Array.from({ length: 500 }, (_, line) => `line ${line}\n`).join("");
  const blocks = diffBlocks(before, before.replace("line 250\n", "changed\n"));
  assert.deepEqual(blocks.map(({ kind }) => kind), ["gap", "same", "change", "same", "gap"]);
  assert.deepEqual(countChanges(blocks), { added: 1, removed: 1 });
  assert.deepEqual(blocks[2].removed, [{ text: "line 250", number: 251 }]);
});

test("texts without a line in common take no time", () => {
  const [before, after] = ["a", "b"].map((name) => Array.from({ length: 30_000 }, (_, line) => `${name}${line}`).join("\n"));
  assert.deepEqual(diffBlocks(before, after).map(({ kind }) => kind), ["change"]);
});

test("a missing line break at the end is a difference", () => {
  const [block] = diffBlocks("a", "a\n");
  assert.deepEqual([block.removed[0].text, block.added[0].text], [`a${NO_LINE_BREAK}`, "a"]);
});

test("a unified diff is read by its counts, not by what its lines look like", () => {
  const files = unifiedFiles("--- a/x\n+++ b/x\n@@ -3,3 +3,2 @@\n a\n--- old\n+++ new\n-b\n\\ No newline at end of file\n--- a/y\n+++ /dev/null\n@@ -1 +0,0 @@\n-q\n");
  assert.deepEqual(files.map(({ path }) => path), ["x", "y"]);
  const [gap, , change] = files[0].blocks;
  assert.deepEqual([gap.kind, gap.count], ["gap", 2]);
  assert.deepEqual([change.removed[0].text, change.added[0].text], ["-- old", "++ new"]);
  const [cut] = unifiedFiles("--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n-a\n… 100 characters are left out …\n+z\n");
  assert.deepEqual(cut.blocks.map(({ kind }) => kind), ["change", "note", "change"]);
});

test("hidden characters are named, ordinary text stays", () => {
  assert.equal(named("rm\u202e x\u200b\u3164\u3164\u00a0y\r"), "rm⟨U+202E⟩ x⟨U+200B⟩⟨U+3164⟩⟨U+3164⟩⟨U+00A0⟩y⟨U+000D⟩");
  assert.equal(named("\u200b".repeat(300)), "⟨300 × U+200B⟩");
  assert.equal(named("\ud800"), "⟨U+D800⟩");
  for (const text of ["\tдом é\n", "👩‍👩‍👧 ❤️ 1️⃣", "می‌خواهم", "क्‍ष"]) assert.equal(named(text), text);
  assert.deepEqual(splitMarks("a⟨400 spaces⟩b").map(({ isHidden }) => isHidden), [false, true, false]);
});

test("arguments tell a change as far as they can", () => {
  const diff = "note\n<<<<<<< SEARCH\na\n=======\nb\nc\n>>>>>>> REPLACE\n<<<<<<< SEARCH  \nd\n=======\n>>>>>>> REPLACE";
  const parts = changesOf("apply_diff", { path: "x", diff });
  assert.deepEqual(parts.map(({ before, after }) => [before, after]), [["a\n", "b\nc\n"], ["d\n", ""]]);
  // Another reader could find more blocks in it: it is shown as it is.
  assert.deepEqual(changesOf("apply_diff", { path: "x", diff: `${diff}\r<<<<<<< SEARCH` }), []);
  // Readers do not agree on whether these are blanks behind a marker.
  for (const blank of ["\ufeff", "\x1f"]) assert.deepEqual(changesOf("apply_diff", { path: "x", diff: diff.replace("=\nb", `=${blank}\nb`) }), []);
  assert.deepEqual(changesOf("write_file", { path: "x", content: "y" }), [{ path: "x", before: undefined, after: "y" }]);
  assert.deepEqual(changesOf("execute_command", { command: "ls" }), []);
  assert.deepEqual(["ls", "a → b", "x"], [{ command: "ls", path: "p" }, { from: "a", to: "b" }, { path: "x" }].map(subjectOf));
});
