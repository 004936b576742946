/**
 * The body of an answer. Finished blocks are built once and stay; what is behind them is one text, which grows.
 *
 * At any time the body has all of the answer's text: a part of the text leaves only when its blocks are there.
 */

import { element } from "../elements.js";
import { blockElement, levelHeadings } from "./nodes.js";
import { pause, Rendering } from "./rendering.js";

const NEAR_PIXELS = 1500;
const MIN_ASK_MS = 250;
// An open block is asked about again when it has grown by this factor, so that the sum of all requests stays small.
const GROWTH = 1.25;
const MAX_END_MS = 1500; // for the blocks of an answer that has ended
const SLICE_MS = 8; // of building, so that the page keeps drawing

export const rendering = new Rendering();

let observer;
const bodies = new WeakMap();

/** Call `appear` once, when the node is near what is on the screen. */
function whenNear(node, appear) {
  const options = { root: document.getElementById("scroller"), rootMargin: `${NEAR_PIXELS}px 0px` };
  observer ??= new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      bodies.get(target)?.();
    }
  }, options);
  bodies.set(node, appear);
  observer.observe(node);
}

export class MarkdownBody {
  #text = "";
  #busy;
  #blocks = []; // those shown: {key, node}
  #done = 0; // how much of the text they are
  #rest = document.createTextNode("");
  #open = element("p", { class: "open", dir: "auto" });
  #isAsking = false;
  #askedAt = 0;
  #askedLength = 0;

  constructor() {
    this.#open.append(this.#rest);
    this.node = element("div", { class: "body markdown" }, this.#open);
  }

  /** Show this text. Returns a promise when the answer has just ended: it resolves when its blocks are there. */
  update({ text, busy }) {
    if (text === this.#text && busy === this.#busy) return undefined;
    const hasEnded = this.#busy && !busy;
    const isLonger = text.startsWith(this.#text);
    if (!isLonger) this.#restart();
    const added = text.slice(isLonger ? this.#text.length : 0);
    this.#text = text;
    this.#busy = busy;
    if (added) this.#rest.appendData(added);
    if (busy) {
      this.#askForBlocks();
      return undefined;
    }
    const finished = new Promise((resolve) => whenNear(this.node, () => this.#finish(text).then(resolve)));
    return hasEnded ? Promise.race([finished, pause(MAX_END_MS)]) : undefined;
  }

  #restart() {
    for (const { node } of this.#blocks) node.remove();
    this.#blocks = [];
    this.#rest.data = "";
    this.#done = this.#askedLength = 0;
  }

  async #askForBlocks() {
    const now = performance.now();
    const rest = this.#text.slice(this.#done);
    if (this.#isAsking || now - this.#askedAt < MIN_ASK_MS || rest.length < this.#askedLength * GROWTH || !rest.includes("\n")) return;
    this.#isAsking = true;
    const [text, done] = [this.#text, this.#done];
    const found = await rendering.render(rest, { open: true });
    this.#isAsking = false;
    this.#askedAt = performance.now();
    if (!this.#text.startsWith(text) || this.#done !== done) return;
    this.#askedLength = found?.length ? 0 : rest.length;
    // A text that takes too long is rendered once more, when it is complete.
    if (!found) this.#askedLength = Infinity;
    if (found?.length && this.#busy) this.#add(found);
  }

  /** Move the beginning of the open text into blocks. */
  #add({ blocks, length }) {
    for (const block of blocks) {
      const entry = { key: JSON.stringify(block), node: blockElement(block) };
      this.#blocks.push(entry);
      this.#open.before(entry.node);
    }
    this.#done += length;
    // Not a new text: what is selected in it stays selected.
    this.#rest.deleteData(0, length);
    levelHeadings(this.node);
  }

  /** Show the blocks of the whole text, and build only those that are not there yet. */
  async #finish(text) {
    const found = await rendering.render(text);
    const isCurrent = () => this.#text === text && !this.#busy;
    if (!found || !isCurrent()) return;
    let until = performance.now() + SLICE_MS;
    const fresh = [];
    for (const [index, block] of found.blocks.entries()) {
      const key = JSON.stringify(block);
      fresh.push(this.#blocks[index]?.key === key ? this.#blocks[index] : { key, node: blockElement(block) });
      if (performance.now() < until) continue;
      await new Promise(requestAnimationFrame);
      if (!isCurrent()) return;
      until = performance.now() + SLICE_MS;
    }
    for (const [index, { node }] of fresh.entries()) {
      const shown = this.#blocks[index]?.node;
      if (shown === node) continue;
      if (shown) shown.replaceWith(node);
      else this.#open.before(node);
    }
    for (const { node } of this.#blocks.slice(fresh.length)) node.remove();
    this.#blocks = fresh;
    this.#done = text.length;
    this.#rest.data = "";
    levelHeadings(this.node);
  }
}
