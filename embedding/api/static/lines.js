/** The lines of a text field, lit as they are pointed at elsewhere, and pointing as the caret or the pointer is on them. */

import { element } from "./dom.js";

/** A copy of the field's text lies behind it, in the same type, and has the light. */
export class LitLines {
  #places = [];

  /**
   * @param {HTMLTextAreaElement} field
   * @param {HTMLElement} behind
   * @param {Pointed} pointed is told the place of a line among those that are not blank
   */
  constructor(field, behind, pointed) {
    this.field = field;
    this.behind = behind;
    this.pointed = pointed;
    const point = () => this.#pointByCaret();
    for (const event of ["click", "keyup", "focus"]) field.addEventListener(event, point);
    field.addEventListener("pointermove", (event) => this.#pointByPlace(event));
    field.addEventListener("pointerleave", () => document.activeElement === field || pointed.at());
    field.addEventListener("blur", () => pointed.at());
    field.addEventListener("scroll", () => (behind.scrollTop = field.scrollTop));
    field.addEventListener("input", () => this.update());
    pointed.addEventListener("change", () => this.#light());
    this.update();
  }

  /** Take over what is in the field now. */
  update() {
    let place = 0;
    const lines = this.field.value.split("\n");
    this.#places = lines.map((line) => (line.trim() ? place++ : null));
    this.behind.replaceChildren(...lines.map((line) => element("div", { dir: "auto" }, line || "\u200b")));
    this.behind.scrollTop = this.field.scrollTop;
    this.#light();
  }

  #light() {
    [...this.behind.children].forEach((line, i) => {
      line.classList.toggle("lit", this.#places[i] !== null && this.pointed.has(this.#places[i]));
    });
  }

  #pointByCaret() {
    const before = this.field.value.slice(0, this.field.selectionStart);
    this.#point(before.split("\n").length - 1);
  }

  #pointByPlace({ clientY }) {
    const at = [...this.behind.children].findIndex((line) => {
      const { top, bottom } = line.getBoundingClientRect();
      return clientY >= top && clientY < bottom;
    });
    if (at >= 0) this.#point(at);
  }

  #point(line) {
    const place = this.#places[line];
    if (place === null || place === undefined) this.pointed.at();
    else this.pointed.at(place);
  }
}
