/** The choice of colours. The cookie lets the server send the next page in them. */

const COOKIE_SECONDS = 31_536_000;

export class Themes {
  /** `node` has a radio button for each theme. */
  constructor(node) {
    const { documentElement: page } = document;
    for (const input of node.querySelectorAll("input")) {
      input.checked = input.value === page.dataset.theme;
      input.addEventListener("change", () => {
        page.dataset.theme = input.value;
        document.cookie = `theme=${input.value}; Path=/; Max-Age=${COOKIE_SECONDS}; SameSite=Lax`;
      });
    }
  }
}
