/** Files as text: what is text, its hash, and cuts to a size that a frame can take. */

export const MAX_FILE_BYTES = 16 * 2 ** 20;
// A frame of the protocol has 256 KiB; the rest is for its other fields.
export const MAX_RESULT_CHARACTERS = 200_000;
const CHECKED_BYTES = 8192;

/** Return the text of a file. Throws for what is not UTF-8 or another `encoding`; a byte order mark stays in the text. */
export function decode(bytes, path, encoding = "utf-8") {
  if (isBinary(bytes)) throw new Error(`${path} is a binary file (${bytes.length} bytes), not text.`);
  let decoder;
  try {
    decoder = new TextDecoder(encoding, { fatal: true, ignoreBOM: true });
  } catch {
    throw new Error(`The encoding "${encoding}" is unknown; use utf-8.`);
  }
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Error(`${path} is not text in ${encoding}; give its \`encoding\`, such as windows-1251.`);
  }
}

/** Return the bytes of a text. Browsers write UTF-8 only. */
export function encode(text, encoding = "utf-8") {
  if (!/^utf-?8$/i.test(encoding)) throw new Error("This workspace writes UTF-8 only; leave out `encoding`.");
  return new TextEncoder().encode(text);
}

export function isBinary(bytes) {
  return bytes.subarray(0, CHECKED_BYTES).includes(0);
}

/** Return the SHA-256 in hexadecimal; undefined where the browser has none, on pages without https. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return undefined;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return a text with its middle left out, and a word about that, when it is longer than the limit. */
export function cut(text, limit) {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  const [head, tail] = [headOf(text, half), text.slice(-half).replace(/^[\udc00-\udfff]/, "")];
  return `${head}\n… ${text.length - head.length - tail.length} characters left out …\n${tail}`;
}

/** Return the beginning of a text. Half of a character is none: the server takes no text with one. */
export function headOf(text, limit) {
  return text.slice(0, limit).replace(/[\ud800-\udbff]$/, "");
}

/** Return how many bytes a value takes in a frame at most. */
export function sizeInFrame(value) {
  const text = JSON.stringify(value);
  return text.length + (text.match(/[^\x00-\x7f]/g)?.length ?? 0) * 2;
}

/** Return the lines of a text with their ends. */
export function linesOf(text) {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}
