/** The choice of a workspace, and the ways to put files into this browser and to take them out. */

import { t, tn } from "../language.js";
import { button, element } from "../render.js";
import { nameOf } from "./paths.js";

export class Chooser {
  constructor(workspace) {
    this.workspace = workspace;
    this.status = element("p", { class: "about", role: "status" });
    this.folderInput = this.#input({ webkitdirectory: "" });
    this.filesInput = this.#input({});
    const act = (label, action) => button(label, "quiet", () => this.#do(action));
    this.reset = act(t("Start the demo project over"), () => workspace.resetDemo());
    this.save = act(t("Download all"), () => this.#downloadAll());
    this.close = act(t("Work without files"), () => workspace.close());
    const choices = [
      ...("showDirectoryPicker" in globalThis ? [act(t("Open a folder…"), () => this.#pickFolder())] : []),
      button(t("Upload a folder…"), "quiet", () => this.folderInput.click()),
      button(t("Upload files…"), "quiet", () => this.filesInput.click()),
    ];
    this.demo = act(t("Demo project"), () => workspace.openDemo());
    this.menu = element("details", { class: "chooser" }, element("summary", {}, t("Other files…")));
    this.menu.append(element("div", { class: "choices" }, ...choices, this.demo, this.reset, this.save, this.close));
    this.access = button("", "primary", () => this.#do(() => workspace.allow()));
    this.node = element("div", {}, this.access, this.menu, this.folderInput, this.filesInput, this.status);
  }

  update() {
    const { current } = this.workspace;
    this.reset.hidden = current?.kind !== "demo";
    this.demo.hidden = !this.reset.hidden;
    this.save.hidden = this.close.hidden = !current;
    this.access.hidden = !current?.isLocked;
    this.access.textContent = t("Allow access to {name}", { name: current?.name ?? "" });
    if (!current) this.menu.open = true;
  }

  /** Have the browser store one file. */
  async download(path) {
    save(nameOf(path), await this.workspace.current.bytes(path));
  }

  #input(attributes) {
    const input = element("input", { type: "file", multiple: "", hidden: "", ...attributes });
    input.addEventListener("change", () => this.#do(() => this.#upload(input)));
    return input;
  }

  async #do(action) {
    this.status.textContent = "";
    try {
      this.status.textContent = (await action()) ?? "";
      if (this.workspace.current) this.menu.open = false;
    } catch (error) {
      // A person who closes the browser's dialog has changed their mind.
      if (error.name !== "AbortError") this.status.textContent = error.message;
    }
  }

  async #pickFolder() {
    await this.workspace.openFolder(await showDirectoryPicker({ mode: "readwrite", id: "codelab" }));
  }

  async #upload(input) {
    const files = [...input.files];
    input.value = ""; // or the same folder could not be chosen again
    if (!files.length) return "";
    const { readUpload } = await import("./upload.js");
    const { name, contents, skipped } = await readUpload(files);
    await this.workspace.openFiles(name || t("Uploaded files"), contents);
    return skipped ? tn(skipped, "{count} file was left out.", "{count} files were left out.") : "";
  }

  async #downloadAll() {
    const { current } = this.workspace;
    const { zip } = await import("./zip.js");
    const files = [];
    for (const path of current.paths()) files.push([path, await current.bytes(path)]);
    save(`${current.name}.zip`, zip(files));
  }
}

function save(name, bytes) {
  const url = URL.createObjectURL(new Blob([bytes]));
  element("a", { href: url, download: name }).click();
  // The browser reads the address after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
