/** Elements of the page. Text of users and models only becomes text nodes, never HTML. */

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function button(label, kind, action) {
  const node = element("button", { type: "button", class: kind }, label);
  node.addEventListener("click", action);
  return node;
}

/** Return whether two values of JSON are the same. A snapshot has other objects for what was there before. */
export function isSame(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}
