/** The tools of the page's workspace, on the demo project in memory. */

import assert from "node:assert/strict";
import { test } from "node:test";

const folder = new URL("../../../sessions/static/sessions/workspace/", import.meta.url);
const load = (name) => import(new URL(name, folder));
const { DEMO_FILES } = await load("demo.js");
const { Journal } = await load("journal.js");
const { compareLines, unifiedDiff } = await load("lines.js");
const { MemoryFiles } = await load("memory-files.js");
const { COMMAND_NAMES, TOOL_NAMES } = await load("names.js");
const { matcher } = await load("patterns.js");
const { preview, TOOLS } = await load("tools.js");
const { Workspace } = await load("workspace.js");

const demo = () => new MemoryFiles(DEMO_FILES);
const run = (files, tool, args) => TOOLS[tool](files, args, {});
const edit = (search, replace) => `<<<<<<< SEARCH\n${search}\n=======\n${replace}\n>>>>>>> REPLACE\n`;
const MENU = '    { "name": "Sencha", "price": 3.8 }';

test("what an edit would change is what it changes, and a call that fails changes nothing", async () => {
  const files = demo();
  const args = { path: "menu.json", diff: edit(MENU, `${MENU},`) };
  const seen = await preview(files, "apply_diff", args);
  const before = new TextDecoder().decode(files.read("menu.json"));
  assert.equal(seen.before, before);
  const result = await run(files, "apply_diff", args);
  assert.equal(new TextDecoder().decode(files.read("menu.json")), seen.after);
  assert.match(result.diff, /^--- a\/menu.json\n\+\+\+ b\/menu.json\n@@ -1,6 \+1,6 @@\n/);
  assert.equal(await preview(files, "apply_diff", args), null);
  await assert.rejects(run(files, "apply_diff", args), /Block 1 of 1: .* 0 times in menu.json/);
  assert.deepEqual(await preview(files, "write_file", { path: "a.txt", content: "a" }), { path: "a.txt", before: null, after: "a" });
  assert.equal((await preview(files, "delete_file", { path: "README.md" })).after, null);
  assert.equal(await preview(files, "execute_command", { command: "check" }), null);
});

test("a file keeps its line ends and a last line without one", async () => {
  const files = new MemoryFiles({ "a.txt": "one\r\ntwo\r\nthree" });
  await run(files, "apply_diff", { path: "a.txt", diff: edit("two\nthree", "2\n3") });
  assert.equal(new TextDecoder().decode(files.read("a.txt")), "one\r\n2\r\n3");
});

test("check fails after a wrong edit and passes after its repair", async () => {
  const files = demo();
  const check = async () => run(files, "execute_command", { command: "check" });
  assert.equal((await check()).exit_code, 0);
  await run(files, "apply_diff", { path: "menu.json", diff: edit(MENU, `${MENU},`) });
  const failed = await check();
  assert.equal(failed.exit_code, 1);
  assert.match(failed.stdout, /^FAIL {2}menu.json is JSON: .*\n(.*\n)*1 of 3 checks failed.\n$/);
  await run(files, "apply_diff", { path: "menu.json", diff: edit(`${MENU},`, MENU) });
  assert.match((await check()).stdout, /3 checks passed.\n$/);
});

test("commands do what they say, and what is not here says so", async () => {
  const files = demo();
  const { stdout } = await run(files, "execute_command", { command: "help" });
  assert.deepEqual(stdout.trim().split("\n").map((line) => line.split(" ")[0]), COMMAND_NAMES);
  assert.equal((await run(files, "execute_command", { command: 'grep -i "SENCHA" menu.json' })).exit_code, 0);
  for (const command of ["npm test", "cat menu.json | wc", "ls > a.txt", "constructor", "rm menu.json", "ls; ls", "echo $HOME"]) {
    const { exit_code, stdout: output, stderr } = await run(files, "execute_command", { command });
    assert.deepEqual([exit_code, output], [127, ""], command);
    assert.match(stderr, /not here/);
  }
});

test("paths stay inside, and secrets are not sent", async () => {
  const files = new MemoryFiles({ ".env": "KEY=1", "a.txt": "-----BEGIN RSA PRIVATE KEY-----\n" });
  for (const path of ["../a", "/a", "a/../../b", "C:\\a", "", "a\u202e"]) await assert.rejects(run(files, "read_file", { path }), /refused/);
  await assert.rejects(run(files, "read_file", { path: ".env" }), /secrets/);
  await assert.rejects(run(files, "read_file", { path: "a.txt" }), /secrets/);
  await assert.rejects(run(files, "move_file", { from: ".env", to: "b.txt" }), /secrets/);
  const { total_matches, note } = await run(files, "search_in_code", { query: "E" });
  assert.equal(total_matches, 0);
  assert.match(note, /1 files that may hold secrets/);
});

test("files move, and folders come and go with them", async () => {
  const files = demo();
  await run(files, "write_file", { path: "a/b.txt", content: "x", create_dirs: true });
  await assert.rejects(run(files, "write_file", { path: "c/b.txt", content: "x" }), /folder c does not exist/);
  await assert.rejects(run(files, "delete_file", { path: "a" }), /not empty/);
  await assert.rejects(run(files, "move_file", { from: "a", to: "a/c" }), /inside/);
  await run(files, "move_file", { from: "a", to: "d" });
  await run(files, "delete_file", { path: "d/b.txt" });
  await run(files, "delete_file", { path: "d" });
  assert.equal((await run(files, "list_files", { path: ".", recursive: true })).total_count, Object.keys(DEMO_FILES).length);
  const { changes } = files.takeChanges();
  assert.deepEqual(new Map(changes), new Map([["a/b.txt", null], ["d/b.txt", null]]));
  assert.equal(TOOL_NAMES.every((name) => name in TOOLS), true);
});

test("a call runs once, also when the page ended between running it and telling", async () => {
  const calls = new Map();
  const database = {
    get: async (_store, id) => calls.get(id),
    put: async (_store, record) => calls.set(record.id, record),
    change: async (stores, work) => stores.length === 1 && work([{ put: (record) => calls.set(record.id, record), index: () => ({ openKeyCursor: () => ({}) }) }]),
  };
  const call = { name: "write_file", arguments: { path: "a" } };
  let runs = 0;
  const work = async () => (runs += 1);
  const once = (isAtomic, id = "1") => new Journal(database).once(id, call, { work, isAtomic });
  assert.equal(await once(false), 1);
  assert.equal(await once(false), 1);
  calls.set("2", { id: "2", fingerprint: JSON.stringify([call.name, call.arguments]) });
  await assert.rejects(once(false, "2"), /unknown: the page ended while write_file ran/);
  calls.set("3", { id: "3", fingerprint: JSON.stringify([call.name, call.arguments]) });
  assert.equal(await once(true, "3"), 2); // its files are stored with its outcome, so nothing has happened yet
  await assert.rejects(new Journal(database).once("1", { ...call, name: "delete_file" }, { work, isAtomic: true }), /Another call/);
  assert.equal(runs, 2);
});

test("files that another tab stored, and that come late, do not undo a call of this one", async () => {
  globalThis.IDBKeyRange ??= { bound: () => null, upperBound: () => null };
  const stored = { workspaces: new Map([["w", { version: 5, folders: [] }]]), files: new Map([["a.txt", new TextEncoder().encode("old")]]), calls: new Map() };
  let [reads, sendLate] = [0, null];
  const late = new Promise((resolve) => (sendLate = resolve));
  const objects = (name) => ({
    put: (record) => stored[name].set(record.path ?? record.id, record.bytes ?? record),
    delete: (key) => stored[name].delete(key),
    index: () => ({ openKeyCursor: () => ({}) }),
  });
  const database = {
    get: async (store, id) => stored[store].get(id),
    put: async (store, record) => objects(store).put(record),
    change: async (stores, apply) => apply(stores.map(objects)),
    async all() {
      const files = [...stored.files].map(([path, bytes]) => ({ path, bytes }));
      if ((reads += 1) === 1) await late;
      return files;
    },
  };
  const workspace = new Workspace({ id: "w", name: "w", kind: "upload", files: new MemoryFiles() }, { database, journal: new Journal(database) });
  const refreshing = workspace.refresh();
  const write = workspace.tools.find(({ name }) => name === "write_file");
  const call = { turn_id: "t", call_id: "c", name: "write_file", arguments: {} };
  await write.run({ path: "a.txt", content: "new" }, { call, signal: new AbortController().signal });
  sendLate();
  await refreshing;
  assert.equal(await workspace.read("a.txt"), "new");
});

test("a folder that is gone is locked, and one that the browser keeps closed, too", async () => {
  const { FolderFiles } = await load("folder-files.js");
  const gone = () => Promise.reject(Object.assign(new Error("gone"), { name: "NotFoundError" }));
  for (const permission of ["granted", "denied", "prompt"]) {
    const handle = { name: "f", queryPermission: async () => permission, requestPermission: async () => permission };
    Object.assign(handle, { entries: () => ({ next: gone, [Symbol.asyncIterator]() { return this; } }), keys: () => ({ next: gone }) });
    const workspace = new Workspace({ id: "f", name: "f", kind: "folder", files: new FolderFiles(handle) }, {});
    await workspace.refresh();
    assert.equal(workspace.isLocked, true);
    if (permission === "granted") await assert.rejects(workspace.files.allow(), /gone/);
    else assert.equal(await workspace.files.allow(), false);
  }
});

test("a text that is cut has no half of a character", async () => {
  const files = new MemoryFiles({ "a.txt": `x${"😀".repeat(150_000)}`, "AGENTS.md": `x${"😀".repeat(20_000)}` });
  const { matches } = await run(files, "search_in_code", { query: "x", path: "a.txt" });
  const workspace = new Workspace({ id: "f", name: "f", kind: "upload", files }, {});
  await workspace.refresh();
  const written = await run(files, "write_file", { path: "a.txt", content: `yy${"😀".repeat(30_000)}` });
  const read = await run(new MemoryFiles({ "a.txt": `x${"😀".repeat(150_000)}` }), "read_file", { path: "a.txt" });
  const texts = [matches[0].text, workspace.facts().instructions[0].text, written.diff, read.content];
  for (const text of texts) assert.equal(text.match(/\p{Surrogate}/u), null);
  assert.match(read.content, /\n… \d+ characters left out …\n/);
});

test("a difference has every line, and patterns match in linear time", () => {
  const random = (length) => Array.from({ length }, () => `${Math.floor(Math.random() * 4)}\n`).join("");
  for (let round = 0; round < 200; round += 1) {
    const [before, after] = [random(round % 12), random((round * 7) % 15)];
    const steps = compareLines(before, after);
    assert.equal(steps.filter(({ kind }) => kind !== "added").map(({ text }) => text).join(""), before);
    assert.equal(steps.filter(({ kind }) => kind !== "removed").map(({ text }) => text).join(""), after);
  }
  assert.equal(unifiedDiff("a", "x\n", "x\n"), "");
  const began = performance.now();
  assert.equal(matcher("*a*a*a*a*a*a*a*b")("a".repeat(2000)), false);
  assert.ok(performance.now() - began < 2000); // exponential time would be years
  assert.deepEqual(["a.ts", "src/b.tsx", "c.js"].map(matcher("*.{ts,tsx}")), [true, true, false]);
  assert.deepEqual(["src/a.py", "src/x/y.py", "a.py"].map(matcher("src/**/*.py")), [true, true, false]);
});
