/** The address of the page: the open session, and perhaps one of its messages. `#key?message=id`, with the key encoded. */

/** Return {key, message} of an address's fragment. */
export function parseAddress(hash) {
  const [name, query = ""] = split(hash.replace(/^#/, ""));
  return { key: decode(name), message: new URLSearchParams(query).get("message") };
}

/** Return the fragment for a session, or for a message in it. */
export function addressOf(key, message) {
  return `#${encodeURIComponent(key)}${message ? `?message=${encodeURIComponent(message)}` : ""}`;
}

/** Only a question mark that leads to a message ends the name: one typed by hand may have others. */
function split(text) {
  const at = text.lastIndexOf("?message=");
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone percent sign, typed by hand
  }
}
