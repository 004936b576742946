/** What a call would do, or has done: a change of files, an exact command, or its arguments. */

import { t } from "../language.js";
import { element, Remark } from "../render.js";
import { changesOf } from "./changes.js";
import { diffView, unifiedView, visibleText } from "./diff.js";
import { splitMarks } from "./hidden.js";

const SHORT_CHARACTERS = 600;
// They are in the change, the rest is not.
const CHANGE_ARGUMENTS = new Set(["path", "content", "diff"]);

/**
 * Return the call in nodes. `args` are the exact arguments, `display` those for people where they differ. `preview(tool,
 * args)` may know the file that would change; `diff` is the change that was made.
 */
export function callView({ tool, args, display, about = "", edited = false }, { preview, diff } = {}) {
  const remarks = [
    about && `${t("Your client defines this tool and says of it:")} ${about}`,
    display && t("Marks in ⟨ ⟩ stand for characters that cannot be seen or look like others, and for long gaps."),
    edited && t("A person edited these arguments."),
  ];
  const call = { tool, args: args ?? {}, display: display ?? args ?? {} };
  return [...mainView(call, { preview, diff }), ...remarks.filter(Boolean).map((text) => new Remark({ text }).node)];
}

function mainView(call, { preview, diff }) {
  const { tool, args, display } = call;
  if (tool === "execute_command" && typeof args.command === "string") return commandView(display, args.command);
  const changes = changesOf(tool, args);
  if (diff) return [unifiedView(diff), ...moreArguments(display, args)];
  if (!changes.length) return [jsonView(t("Arguments"), display)];
  const parts = changes.map(diffView);
  const place = element("div", { class: "diffs" }, ...parts);
  if (preview) showPreview(place, preview, call);
  return [place, ...moreArguments(display, args)];
}

/** A workspace that cannot tell, because the call would fail, leaves what the arguments say. */
async function showPreview(place, preview, { tool, args }) {
  const change = await preview(tool, args);
  if (change) place.replaceChildren(diffView(change));
}

/** The exact command. A line break in it is one, so each line of the command is a line. */
function commandView({ command, cwd, timeout, shell, ...others }, exact) {
  const text = command === exact ? visibleText(command) : visibleText(command, splitMarks(command));
  const facts = [
    cwd && cwd !== "." && t("in the folder {folder}", { folder: cwd }),
    shell && t("in a shell"),
    timeout && t("for {seconds} s at most", { seconds: timeout }),
  ].filter(Boolean);
  const line = element("pre", { class: "command", dir: "ltr", tabindex: "0", role: "group", "aria-label": t("Command") }, ...text);
  const nodes = [line];
  if (facts.length) nodes.push(element("p", { class: "facts" }, ...visibleText(facts.join(" · "))));
  if (Object.keys(others).length) nodes.push(jsonView(t("Arguments"), others));
  return nodes;
}

function moreArguments(display, args) {
  const more = Object.entries(display).filter(([name]) => !CHANGE_ARGUMENTS.has(name));
  const nodes = more.length ? [jsonView(t("Arguments"), Object.fromEntries(more))] : [];
  return [...nodes, lazyFold(t("Exact arguments"), () => JSON.stringify(args, null, 2))];
}

/** Text, folded where it is long. */
export function textView(label, text) {
  const block = () => element("pre", { dir: "ltr", tabindex: "0", role: "group", "aria-label": label }, ...visibleText(text));
  if (text.length <= SHORT_CHARACTERS) return block();
  return lazyFold(label, () => text);
}

function jsonView(label, value) {
  return textView(label, JSON.stringify(value, null, 2));
}

function lazyFold(label, textOf) {
  const details = element("details", {}, element("summary", {}, label));
  const fill = () => {
    const block = element("pre", { dir: "ltr", tabindex: "0", role: "group", "aria-label": label }, ...visibleText(textOf()));
    details.append(block);
  };
  details.addEventListener("toggle", fill, { once: true });
  return details;
}

/** Return a result in nodes: output and content as text, everything else as JSON. A `diff` is shown with the call. */
export function resultView(text) {
  const { stdout, stderr, content, diff, ...others } = objectIn(text) ?? {};
  const texts = [
    [t("Output"), stdout],
    [t("Error output"), stderr],
    [t("Content"), content],
  ].filter(([, value]) => typeof value === "string" && value);
  if (!texts.length && diff === undefined) return [textView(t("Result"), prettyJson(text))];
  return [...texts.map(([label, value]) => textView(label, value)), lazyFold(t("Result"), () => prettyJson(JSON.stringify(others)))];
}

function objectIn(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function prettyJson(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
