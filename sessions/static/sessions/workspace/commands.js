/**
 * execute_command where no system is: a small set of commands that really do what they say on the files of the workspace.
 * Everything else, a shell's syntax included, is "not here", so that no model takes a pretence for a result.
 */

import { check } from "./check.js";
import { COMMAND_NAMES } from "./names.js";
import { baseOf, nameOf, normalize } from "./paths.js";
import { matcher } from "./patterns.js";
import { listFiles, readFile, searchInCode } from "./reading.js";

const NOT_FOUND = 127; // as of shells
const WRONG_USE = 2;
const SHELL_SIGNS = /[|&;<>()$`*?[\]{}!\n\r]|(^|\s)[~#]/;
const WORDS = /'([^']*)'|"([^"]*)"|([^\s'"]+)/g;
const MAX_MATCHES = 1000;
const DEFAULT_LINES = 10;

const COMMANDS = {
  check: { about: "check  tries the lines of checks.txt, and whether JSON files and links are right", run: check },
  pwd: { about: "pwd  prints the folder", run: (_files, _words, cwd) => `/${cwd === "." ? "" : cwd}\n` },
  ls: { about: "ls [PATH]  lists a folder", run: list },
  cat: { about: "cat PATH...  prints files", run: (files, words, cwd) => print(files, words, cwd, "cat") },
  head: { about: "head [-n COUNT] PATH  prints the first lines", run: (files, words, cwd) => part(files, words, cwd, "head") },
  tail: { about: "tail [-n COUNT] PATH  prints the last lines", run: (files, words, cwd) => part(files, words, cwd, "tail") },
  wc: { about: "wc PATH...  counts lines, words and characters", run: count },
  grep: { about: "grep [-i] [-r] TEXT [PATH]  finds lines with a text", run: grep },
  find: { about: "find [PATH] [-name PATTERN]  lists paths at any depth", run: find },
  echo: { about: "echo TEXT  prints a text", run: (_files, words) => `${words.join(" ")}\n` },
  date: { about: "date  prints the time", run: () => `${new Date().toISOString()}\n` },
  help: { about: "help  prints this list", run: () => `${Object.values(COMMANDS).map(({ about }) => about).join("\n")}\n` },
};

/** A failure of a command; its text is the standard error. */
class CommandFailed extends Error {
  constructor(message, code = 1, output = "") {
    super(message);
    Object.assign(this, { code, output });
  }
}

/** Run one command. A command that fails is a result, too. */
export async function runCommand(files, { command, cwd, shell = false }) {
  const began = performance.now();
  const ended = (exit_code, stdout, stderr) => ({
    ...{ command, exit_code, stdout, stderr },
    ...{ duration_ms: Math.round(performance.now() - began), timed_out: false },
  });
  try {
    const [name, ...words] = split(command, shell);
    if (!Object.hasOwn(COMMANDS, name)) throw new CommandFailed(`${name}: not here. ${explain()}`, NOT_FOUND);
    const folder = normalize(cwd || ".");
    if (!(await files.stat(folder))?.isFolder) throw new CommandFailed(`The folder ${folder} does not exist.`);
    const output = await COMMANDS[name].run(files, words, folder);
    if (typeof output === "string") return ended(0, output, "");
    return ended(output.code, output.text, "");
  } catch (error) {
    return ended(error.code > 0 && error instanceof CommandFailed ? error.code : 1, error.output ?? "", `${error.message}\n`);
  }
}

function explain() {
  return `This workspace is in a browser, without a system and a shell. It has: ${COMMAND_NAMES.join(", ")}.`;
}

function split(command, shell) {
  const plain = command.replace(WORDS, (word) => (/^['"]/.test(word) ? "" : word));
  if (shell || SHELL_SIGNS.test(plain)) throw new CommandFailed(`Shell syntax is not here. Run one command at a time. ${explain()}`, NOT_FOUND);
  if (/['"\\]/.test(plain)) throw new CommandFailed("The command cannot be read: a quotation mark is not closed.", WRONG_USE);
  // Parts without a blank between them are one word.
  const words = [];
  let end = -1;
  for (const match of command.matchAll(WORDS)) {
    const text = match[1] ?? match[2] ?? match[3];
    if (match.index === end) words[words.length - 1] += text;
    else words.push(text);
    end = match.index + match[0].length;
  }
  if (!words.length) throw new CommandFailed("The command is empty.", WRONG_USE);
  return words;
}

/** Return the options and the other words of a command. `known` are options; those that take a value end with "=". */
function parse(words, known, name) {
  const [options, rest] = [{}, []];
  for (let place = 0; place < words.length; place += 1) {
    const word = words[place];
    if (!word.startsWith("-") || word === "-") rest.push(word);
    else if (known.includes(`${word}=`)) options[word] = words[(place += 1)] ?? "";
    else if (known.includes(word)) options[word] = true;
    else if ([...word.slice(1)].every((letter) => known.includes(`-${letter}`))) for (const letter of word.slice(1)) options[`-${letter}`] = true;
    else throw new CommandFailed(`${name}: the option ${word} is not here. ${COMMANDS[name].about}`, WRONG_USE);
  }
  return { options, rest };
}

function inside(cwd, path) {
  return normalize(baseOf(cwd) + path);
}

async function list(files, words, cwd) {
  const { options, rest } = parse(words, ["-a", "-l", "-A", "-1"], "ls");
  const { items } = await listFiles(files, { path: inside(cwd, rest[0] ?? "."), include_hidden: Boolean(options["-a"] || options["-A"]) });
  const lines = items.map(({ name, type, size }) => {
    const shown = type === "directory" ? `${name}/` : name;
    return options["-l"] ? `${String(size).padStart(9)} ${shown}` : shown;
  });
  return lines.map((line) => `${line}\n`).join("");
}

async function contents(files, words, cwd, name) {
  if (!words.length) throw new CommandFailed(`${name}: name a file. ${COMMANDS[name].about}`, WRONG_USE);
  const texts = [];
  for (const word of words) texts.push((await readFile(files, { path: inside(cwd, word) })).content);
  return texts;
}

async function print(files, words, cwd, name) {
  const { rest } = parse(words, [], name);
  return (await contents(files, rest, cwd, name)).join("");
}

async function part(files, words, cwd, name) {
  const { options, rest } = parse(words, ["-n="], name);
  const lines = Number(options["-n"] ?? DEFAULT_LINES);
  if (!Number.isInteger(lines) || lines < 0) throw new CommandFailed(`${name}: -n takes a count.`, WRONG_USE);
  const [text] = await contents(files, rest, cwd, name);
  const all = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  return (name === "head" ? all.slice(0, lines) : all.slice(Math.max(0, all.length - lines))).join("");
}

async function count(files, words, cwd) {
  const { options, rest } = parse(words, ["-l", "-w", "-c", "-m"], "wc");
  const texts = await contents(files, rest, cwd, "wc");
  const has = (letter) => !Object.keys(options).length || options[letter];
  return texts
    .map((text, place) => {
      const counts = [has("-l") && text.split("\n").length - 1, has("-w") && (text.match(/\S+/g) ?? []).length, (has("-c") || has("-m")) && text.length];
      return `${counts.filter((one) => one !== false && one !== undefined).join(" ")} ${rest[place]}\n`;
    })
    .join("");
}

async function grep(files, words, cwd) {
  const { options, rest } = parse(words, ["-i", "-r", "-n", "-R"], "grep");
  const [query, path = "."] = rest;
  if (!query) throw new CommandFailed(`grep: name a text. ${COMMANDS.grep.about}`, WRONG_USE);
  const args = { query, path: inside(cwd, path), case_sensitive: !options["-i"], max_results: MAX_MATCHES };
  const { matches } = await searchInCode(files, args);
  if (!matches.length) throw new CommandFailed(`No line has "${query}".`);
  return matches.map(({ file, line, text }) => `${file}:${line}:${text}\n`).join("");
}

async function find(files, words, cwd) {
  const { options, rest } = parse(words, ["-name="], "find");
  const { items } = await listFiles(files, { path: inside(cwd, rest[0] ?? "."), recursive: true, include_hidden: true });
  const matches = options["-name"] ? matcher(options["-name"]) : () => true;
  return items.filter(({ path }) => matches(nameOf(path))).map(({ path }) => `${path}\n`).join("");
}
