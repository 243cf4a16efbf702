/** Elements made and found. Text goes in as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** `pairs` of a term and its description, and perhaps a hint, as the content of the list `list`. */
export function describe(list, pairs) {
  list.replaceChildren(...pairs.map(([term, value, hint]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, value, ...(hint ? [element("small", {}, hint)] : [])))));
}

/** `call`, once nothing has asked for it again for `wait` ms. */
export function debounced(call, wait) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, wait);
  };
}

/** At most `length` characters of `text`, none of them cut in half. */
export function shortened(text, length) {
  if (text.length <= length) return text;
  const characters = Array.from(text.slice(0, 2 * length));
  return characters.length > length ? `${characters.slice(0, length - 1).join("").trimEnd()}…` : text;
}

/** A text of the visitor's amid our words, whichever way it runs. */
export const quoted = (text, length = 140) => element("q", { dir: "auto" }, shortened(text, length));

/** "1 text", "2 texts". */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** Let the arrow keys walk through the items of `list`, of which Tab reaches one. */
export function walkable(list) {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const item = event.target.closest("li");
    const next = step === 1 ? item?.nextElementSibling : item?.previousElementSibling;
    if (!step || !next) return;
    event.preventDefault();
    item.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

/** Whether the reader asked for no motion. */
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
