/** What the reader points at in one picture, for all the others to light up. */

/** Tells of each change by the event "change". */
export class Pointed extends EventTarget {
  #places = [];

  /** The places of the texts that are pointed at: none, one, or the two of a pair. */
  get places() {
    return this.#places;
  }

  /** @param {number[]} places */
  at(...places) {
    const found = [...new Set(places)];
    if (String(found) === String(this.#places)) return;
    this.#places = found;
    this.dispatchEvent(new Event("change"));
  }

  has(place) {
    return this.#places.includes(place);
  }

  /**
   * Let pointer and focus on what is in `room` tell `places(element)`.
   *
   * @param {Element} room
   * @param {(element: Element) => number[]|undefined} places of the texts that an element stands for
   */
  watch(room, places) {
    const tell = ({ target }) => {
      const found = places(target);
      if (found) this.at(...found);
    };
    room.addEventListener("pointerover", tell);
    room.addEventListener("focusin", tell);
    room.addEventListener("pointerleave", () => room.contains(document.activeElement) || this.at());
    room.addEventListener("focusout", ({ relatedTarget }) => room.contains(relatedTarget) || this.at());
  }
}

/** The places that the attribute data-at of `element` or of what it is in names: "3" or "3,5". */
export function placesOf(element) {
  return element.closest("[data-at]")?.dataset.at.split(",").map(Number);
}
