/**
 * Pictures in messages: those that are about to be sent, and those that were. A picture is uploaded as soon as it is put
 * in; the message names its id, so that what waits to be sent stays small.
 */

import { button, element, pictureAddress, strip } from "./render.js";

// What models read; the server says so, too, and looks at the bytes.
const TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MOST = 8; // in one message

/** The pictures that the next message will show. */
export class Pictures {
  /** `node` lists them; `onChange()` is told of each change, `onNotice(text)` of what did not work. */
  constructor(node, { onChange, onNotice }) {
    Object.assign(this, { node, onChange, onNotice, key: "", ids: [], uploads: 0 });
  }

  /** Begin anew, in this session. */
  show(key) {
    Object.assign(this, { key, ids: [], uploads: 0 });
    this.#draw();
  }

  get isUploading() {
    return this.uploads > 0;
  }

  /** Put pictures into the next message that were uploaded before. */
  put(ids) {
    this.ids = [...new Set([...this.ids, ...ids])].slice(0, MOST);
    this.#draw();
  }

  /** Return the ids of all that is there, for the message that is sent now. */
  take() {
    const { ids } = this;
    this.show(this.key);
    return ids;
  }

  /** Upload files; returns whether any of them is a picture. */
  add(files) {
    const pictures = [...files].filter((file) => TYPES.has(file.type));
    const room = MOST - this.ids.length - this.uploads;
    if (pictures.length > room) this.onNotice(`A message shows at most ${MOST} images.`);
    this.#upload(pictures.slice(0, room));
    return pictures.length > 0;
  }

  /** One after the other, so that they stand in the order in which they were chosen. */
  async #upload(files) {
    const { key } = this;
    this.uploads += files.length;
    this.#draw();
    for (const file of files) {
      const [id, problem] = await post(key, file);
      // Another session is open now.
      if (key !== this.key) return;
      this.uploads--;
      if (problem) this.onNotice(`${file.name}: ${problem}`);
      this.put(id ? [id] : []);
    }
  }

  #draw() {
    const items = this.ids.map((id, place) => {
      const remove = button("Remove", "link", () => this.#remove(id));
      remove.setAttribute("aria-label", `Remove image ${place + 1}`);
      return element("li", {}, strip(this.key, [id]), remove);
    });
    if (this.isUploading) items.push(element("li", { class: "remark" }, "Uploading…"));
    this.node.replaceChildren(...items);
    this.node.hidden = items.length === 0;
    this.onChange();
  }

  #remove(id) {
    this.ids = this.ids.filter((one) => one !== id);
    this.#draw();
  }
}

/** Return [id] or [undefined, a sentence]. */
async function post(key, file) {
  try {
    const answer = await fetch(pictureAddress(key), { method: "POST", body: file });
    const body = await answer.json();
    return answer.ok ? [body.image_id] : [undefined, body.error];
  } catch {
    return [undefined, "This image could not be uploaded. Try it again."];
  }
}
