/** How the vectors are shortened: one choice for the whole page, and the slider that makes it wherever it is needed. */

import { element } from "./dom.js";
import { BITS, cuts } from "./vectors.js";
import { draft, keepDraft } from "./drafts.js";

const NAMES = { float32: "32 bits (full)", int8: "8 bits (int8)", binary: "1 bit (binary)" };

/** The dimension and format that vectors are kept in. Tells of a new one by the event "change". */
export class Cut extends EventTarget {
  offered = [];
  dimension = 0;
  format = draft("format") ?? "float32";
  trained = true;

  /** Offer the cuts of a model whose vectors can be cut to `dimensions`. */
  offer(dimensions) {
    const offered = cuts(dimensions);
    this.trained = dimensions.length > 1;
    if (String(offered) === String(this.offered)) return;
    this.offered = offered;
    const kept = Number(draft("dimension"));
    this.choose({ dimension: offered.includes(kept) ? kept : offered[0] });
  }

  choose({ dimension = this.dimension, format = this.format }) {
    Object.assign(this, { dimension, format });
    keepDraft("dimension", dimension);
    keepDraft("format", format);
    this.dispatchEvent(new Event("change"));
  }

  get widest() {
    return this.offered[0];
  }

  get isWhole() {
    return this.dimension === this.widest && this.format === "float32";
  }
}

/** Fill `room` with the slider and the formats. `id` names the slider. */
export function startCutter(room, cut, id) {
  const slider = element("input", { id, type: "range", min: "0", max: "0", value: "0", step: "1", disabled: "", autocomplete: "off" });
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  const said = element("output", { for: id });
  const formats = Object.keys(BITS).map((format) => element("input", { type: "radio", name: `${id}-format`, value: format, autocomplete: "off" }));
  room.replaceChildren(
    element("div", { class: "label-row" }, element("label", { for: id }, "Numbers kept of each vector"), said),
    element("div", {}, slider, ticks),
    element("fieldset", { class: "choice" }, element("legend", {}, "Each number kept in"),
      ...formats.map((radio) => element("label", {}, radio, NAMES[radio.value]))));
  slider.addEventListener("input", () => cut.choose({ dimension: cut.offered[cut.offered.length - 1 - slider.value] }));
  for (const radio of formats) radio.addEventListener("change", () => cut.choose({ format: radio.value }));
  const update = () => {
    const { offered, dimension, format, widest } = cut;
    slider.max = offered.length - 1;
    slider.disabled = offered.length < 2;
    slider.value = offered.length - 1 - offered.indexOf(dimension);
    slider.setAttribute("aria-valuetext", `${dimension} of ${widest} numbers`);
    said.textContent = `${dimension} of ${widest}`;
    ticks.replaceChildren(...offered.toReversed().map((one) => element("span", {}, String(one))));
    for (const radio of formats) radio.checked = radio.value === format;
  };
  cut.addEventListener("change", update);
}
