/** Follows the end of the conversation, unless the user has scrolled up. */

const NEAR_PIXELS = 40;

export class Following {
  #isAtEnd = true;
  #lastTop = 0;

  /** `scroller` has the `content`, which grows by itself, too; `button` leads back to the end. */
  constructor({ scroller, content, button }) {
    Object.assign(this, { scroller, button });
    button.addEventListener("click", () => this.follow(true));
    scroller.addEventListener("scroll", () => this.#handleScroll(), { passive: true });
    const sizes = new ResizeObserver(() => this.follow());
    sizes.observe(scroller);
    sizes.observe(content);
  }

  /** Scroll to the end, if the user is there; with `force` in any case. */
  follow(force = false) {
    this.#isAtEnd ||= force;
    if (this.#isAtEnd) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.button.hidden = this.#isAtEnd;
  }

  /** Stay where the user is led to. */
  stop() {
    this.#isAtEnd = false;
    this.follow();
  }

  #handleScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_PIXELS;
    // Only the user scrolls up. New text also increases the distance to the end.
    if (isNear || scrollTop < this.#lastTop) this.#isAtEnd = isNear;
    this.#lastTop = scrollTop;
    this.button.hidden = this.#isAtEnd;
  }
}
