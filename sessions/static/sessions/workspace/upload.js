/** Files that a person uploads into a workspace in memory. They stay in this browser. */

import { MAX_BYTES, MAX_FILES } from "./memory-files.js";
import { t } from "../language.js";
import { SKIPPED_FOLDERS } from "./paths.js";

/** Return {name, contents: {path: bytes}, skipped}: what was chosen, without history and installed programs. Throws if it is too much. */
export async function readUpload(files) {
  const chosen = files.map((file) => ({ file, names: (file.webkitRelativePath || file.name).split("/") }));
  const isFolder = chosen.every(({ names }) => names.length > 1);
  const name = isFolder ? chosen[0].names[0] : "";
  const kept = chosen.filter(({ names }) => !names.some((one) => SKIPPED_FOLDERS.has(one)));
  const size = kept.reduce((sum, { file }) => sum + file.size, 0);
  if (kept.length > MAX_FILES || size > MAX_BYTES) {
    const limits = { files: MAX_FILES.toLocaleString(), megabytes: MAX_BYTES / 2 ** 20 };
    throw new Error(t("This is too much for a browser: at most {files} files and {megabytes} MiB.", limits));
  }
  const contents = {};
  for (const { file, names } of kept) contents[names.slice(isFolder ? 1 : 0).join("/")] = new Uint8Array(await file.arrayBuffer());
  return { name, contents, skipped: chosen.length - kept.length };
}
