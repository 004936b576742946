/**
 * The developer's switch, kept in this browser: with it a person can answer a call in the place of the tool, which tests
 * how a model goes on. The tool does not run then.
 */

const KEY = "codelab.answer-as-tool";
const target = new EventTarget();
let isOn = read();

export const developer = {
  get isOn() {
    return isOn;
  },

  set(value) {
    isOn = value;
    try {
      if (value) localStorage.setItem(KEY, "true");
      else localStorage.removeItem(KEY);
    } catch {
      // A browser that stores nothing forgets it.
    }
    target.dispatchEvent(new Event("change"));
  },

  onChange(listener) {
    target.addEventListener("change", listener);
  },
};

function read() {
  try {
    return localStorage.getItem(KEY) === "true";
  } catch {
    return false;
  }
}
