/** The keys that end writing in a box. Every box uses `onKeys`, because only there input methods are considered. */

// What browsers report for a key that belongs to an input method, as for Japanese.
const INPUT_METHOD_KEY_CODE = 229;
// The keyboards of touch screens have no Shift + Enter.
const touch = matchMedia("(pointer: coarse)");

/**
 * Call `enter(event)` for Enter without Shift, and `escape(event)` for Escape. On touch screens Enter is a new line in
 * boxes of several lines. Enter that takes a candidate of an input method is neither: Safari sends it after the end of
 * the composition, so there only its code says what it is.
 */
export function onKeys(field, { enter, escape }) {
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === INPUT_METHOD_KEY_CODE) return;
    if (event.key === "Escape") escape?.(event);
    if (event.key !== "Enter" || event.shiftKey) return;
    const isNewLine = touch.matches && field.matches("textarea") && !(event.ctrlKey || event.metaKey || event.altKey);
    if (isNewLine) return;
    event.preventDefault();
    enter(event);
  });
}

/**
 * Call handlers by the names of their keys: "?", "Alt+N", "Ctrl+/". A key alone belongs to a field that is written in.
 * With Ctrl or Alt the place of the key counts, not what a keyboard of another language writes there.
 */
export function onPageKeys(handlers) {
  document.addEventListener("keydown", (event) => {
    const { altKey, ctrlKey, metaKey, code, key } = event;
    if (event.isComposing || event.defaultPrevented) return;
    const isCombination = altKey || ctrlKey || metaKey;
    if (!isCombination && event.target.closest("input, textarea, select")) return;
    const place = code === "Slash" ? "/" : code.replace(/^Key/, "");
    const name = [(ctrlKey || metaKey) && "Ctrl", altKey && "Alt", isCombination ? place : key].filter(Boolean).join("+");
    if (!handlers[name]) return;
    event.preventDefault();
    handlers[name](event);
  });
}
