/** Editing a message that was answered, and the keys of the message box: ↑ edits the last message, Escape stops. */

const EMPTY_DRAFT = { text: "", images: [] };
const find = (id) => document.getElementById(id);

/** The message that the box takes the place of, while its user edits it. */
export class Rewrite {
  /** `write(text)` puts a text into the box; `addImages(ids)` attaches images of the session, `takeImages()` takes them off. */
  constructor({ box, write, addImages, takeImages }) {
    Object.assign(this, { box, write, addImages, takeImages, target: null, draft: EMPTY_DRAFT });
    find("rewrite-cancel").addEventListener("click", () => this.cancel());
  }

  /** Edit a message: {id, text, images}. */
  begin(target) {
    const images = this.takeImages();
    if (!this.target) this.draft = { text: this.box.value, images };
    this.#set(target);
    this.addImages(target.images);
    this.write(target.text);
  }

  /** Return {id, text, images}: the id of the message that is replaced, or undefined, and what comes back into the box. */
  take() {
    const id = this.target?.id;
    const draft = this.draft;
    this.#set(null);
    this.draft = EMPTY_DRAFT;
    return { id, ...draft };
  }

  /** Give up, with what was in the box before. Return whether a message was edited. */
  cancel() {
    if (!this.target) return false;
    const { text, images } = this.take();
    this.takeImages();
    this.addImages(images);
    this.write(text);
    return true;
  }

  #set(target) {
    this.target = target;
    find("rewrite").hidden = !target;
  }
}

/** `actions`: rewriteLast() and cancelRewrite(), which return whether there was anything to do; isAnswering(), stop(). */
export function listenToKeys(box, actions) {
  box.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" || box.value || event.isComposing || event.shiftKey || event.altKey) return;
    if (actions.rewriteLast()) event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
    // Escape belongs to what is open, and to other boxes.
    const isElsewhere = event.target !== box && event.target.matches?.("input, textarea, select");
    if (isElsewhere || document.querySelector("dialog[open]")) return;
    if (actions.cancelRewrite()) return;
    if (actions.isAnswering()) actions.stop();
  });
}
