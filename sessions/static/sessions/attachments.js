/**
 * The images of the next message. An image is uploaded when it is added, and the message names its id, so that unsent
 * messages stay small.
 */

import { errorText, t, tn } from "./language.js";
import { button, element, imageStrip, imageUrl } from "./render.js";

// The server accepts the same types, and checks the bytes.
const TYPES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MAX_IMAGES = 8; // per message

export class Attachments {
  /** `node` lists the images. `onChange()` follows each change; `onNotice(text)` reports failures. */
  constructor(node, { onChange, onNotice }) {
    Object.assign(this, { node, onChange, onNotice, key: "", ids: [], uploads: 0, message: {} });
  }

  /** Start with no images, in this session. */
  reset(key) {
    Object.assign(this, { key, ids: [], uploads: 0, message: {} });
    this.#draw();
  }

  get isUploading() {
    return this.uploads > 0;
  }

  /** Add images that are uploaded already. */
  addUploads(ids) {
    this.ids = [...new Set([...this.ids, ...ids])].slice(0, MAX_IMAGES);
    this.#draw();
  }

  /** Return the ids for the message that is sent now, and start with no images. */
  take() {
    const { ids } = this;
    this.reset(this.key);
    return ids;
  }

  /** Upload files; return whether any of them is an image. */
  add(files) {
    const images = [...files].filter((file) => TYPES.has(file.type));
    const room = MAX_IMAGES - this.ids.length - this.uploads;
    if (images.length > room) this.onNotice(tn(MAX_IMAGES, "A message can have at most {count} image.", "A message can have at most {count} images."));
    this.#upload(images.slice(0, room));
    return images.length > 0;
  }

  /** Upload one after another, which keeps the order of the files. */
  async #upload(files) {
    const { key, message } = this;
    this.uploads += files.length;
    this.#draw();
    for (const file of files) {
      const [id, error] = await post(key, file);
      // The user has opened another session, or has begun another message.
      if (message !== this.message) return;
      this.uploads--;
      if (error) this.onNotice(`${file.name}: ${error}`);
      this.addUploads(id ? [id] : []);
    }
  }

  #draw() {
    const items = this.ids.map((id, index) => {
      const remove = button(t("Remove"), "link", () => this.#remove(id));
      remove.setAttribute("aria-label", t("Remove image {number}", { number: index + 1 }));
      return element("li", {}, imageStrip(this.key, [id]), remove);
    });
    if (this.isUploading) items.push(element("li", { class: "remark" }, t("Uploading…")));
    this.node.replaceChildren(...items);
    this.node.hidden = items.length === 0;
    this.onChange();
  }

  #remove(id) {
    this.ids = this.ids.filter((one) => one !== id);
    this.#draw();
  }
}

/** Return [id] or [undefined, error text]. */
async function post(key, file) {
  try {
    const response = await fetch(imageUrl(key), { method: "POST", body: file });
    const body = await response.json();
    return response.ok ? [body.image_id] : [undefined, errorText(body.error_code, body.error)];
  } catch {
    return [undefined, t("Upload failed. Try again.")];
  }
}
