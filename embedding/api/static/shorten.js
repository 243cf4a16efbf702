/** Shorten: what a search keeps, and what it costs, as vectors are cut and stored in fewer bits. */

import { startCutter } from "./cutter.js";
import { byId, describe, drawn, element } from "./dom.js";
import { placesOf } from "./pointed.js";
import { FIRST, Recall, nearest } from "./recall.js";
import { BITS, bytes, shorten } from "./vectors.js";

const MILLION = 1e6;
const NAMES = { float32: "32 bits", int8: "8 bits", binary: "1 bit" };
const ROW = 36; // pixels, as in the style sheet

/** Returns what the search shows its documents and query to. */
export function startShorten(cut) {
  startCutter(byId("shorten-cutter"), cut, "dimension-of-search");
  const view = new Shortened(cut);
  cut.addEventListener("change", () => view.draw());
  return view;
}

class Shortened {
  #shown = null;
  #filling = 0;

  constructor(cut) {
    this.cut = cut;
    this.ranks = byId("ranks");
    byId("choices").addEventListener("click", ({ target }) => {
      const chosen = target.closest("button")?.dataset;
      if (chosen) cut.choose({ dimension: Number(chosen.dimension), format: chosen.format });
    });
  }

  /** Light up what is pointed at elsewhere, and the other way round. */
  link(pointed) {
    this.pointed = pointed;
    pointed.watch(this.ranks, placesOf);
    pointed.addEventListener("change", () => this.#light());
  }

  /** Offer the cuts of a model whose vectors can be cut to `dimensions`. */
  offer(dimensions) {
    this.cut.offer(dimensions);
  }

  /** @param {string[]} titles @param {Float32Array[]} vectors @param {Float32Array} asked the query's */
  show(titles, vectors, asked) {
    const recall = this.#shown?.vectors === vectors ? this.#shown.recall : new Recall(vectors);
    this.#shown = { titles, vectors, asked, recall };
    this.draw();
  }

  clear() {
    this.#shown = null;
    for (const id of ["ranks", "choices", "shorten-facts"]) byId(id).replaceChildren();
    byId("shorten-note").textContent = "Search in some documents to see this.";
  }

  draw() {
    const { cut } = this;
    if (!this.#shown || cut.widest !== this.#shown.asked.length) return;
    const { titles, vectors, asked, recall } = this.#shown;
    const { dimension, format } = cut;
    const short = (vector) => shorten(vector, dimension, format);
    const before = nearest(asked, vectors, FIRST);
    const now = nearest(short(asked), vectors.map(short), FIRST);
    describe(byId("shorten-facts"), this.#facts());
    byId("shorten-note").textContent = note(cut, recall);
    this.#drawRanks(titles, before, now);
    this.#drawChoices();
  }

  #facts() {
    const { dimension, format, widest } = this.cut;
    const [now, full] = [bytes(dimension, format), bytes(widest, "float32")];
    const times = full / now;
    const kept = this.#shown.recall.telling ? percent(this.#shown.recall.of(dimension, format)) : "–";
    return [
      ["Matches kept", kept, `of each document’s ${FIRST} nearest, still among its first ${FIRST} (recall at ${FIRST})`],
      ["A million vectors", gigabytes(now), times === 1 ? "full vectors" : `${times < 10 ? times.toFixed(1).replace(".0", "") : Math.round(times)} times less than ${gigabytes(full)}`],
    ];
  }

  #drawRanks(titles, before, now) {
    const list = (places, other, name) =>
      element("ol", { "aria-label": name }, ...places.map((place) =>
        element("li", { "data-at": place, class: other.includes(place) ? "" : "gone" }, element("bdi", { title: titles[place] }, titles[place]))));
    const lines = before.map((place, i) => [place, i, now.indexOf(place)]).filter(([, , j]) => j >= 0);
    const middle = (i) => i * ROW + ROW / 2;
    const links = drawn("svg", { viewBox: `0 0 100 ${before.length * ROW}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      ...lines.map(([place, i, j]) => drawn("path", { d: `M0 ${middle(i)} C50 ${middle(i)} 50 ${middle(j)} 100 ${middle(j)}`, "data-at": place, class: i === j ? "" : "moved" })));
    this.ranks.replaceChildren(list(before, now, "With full vectors"), links, list(now, before, "With shortened vectors"));
    this.ranks.style.setProperty("--rows", before.length);
    this.ranks.dataset.kept = lines.length;
    this.#light();
  }

  /** Every format at every dimension; what is not known yet is worked out while the browser has nothing else to do. */
  #drawChoices() {
    const { offered, dimension: chosen, format: chosenFormat } = this.cut;
    const { recall } = this.#shown;
    const dimensions = offered.toReversed();
    const cells = [];
    const choice = (format) => (dimension) => {
      const isChosen = dimension === chosen && format === chosenFormat;
      const share = element("b", {}, "…");
      cells.push({ share, dimension, format });
      return element("td", {}, element("button", { type: "button", class: "quiet choice-cell", "data-dimension": dimension, "data-format": format, "aria-pressed": isChosen },
        share, " ", element("small", {}, gigabytes(bytes(dimension, format)))));
    };
    const focused = byId("choices").contains(document.activeElement);
    byId("choices").replaceChildren(element("table", {},
      element("thead", {}, element("tr", {}, element("td", {}), ...dimensions.map((d) => element("th", { scope: "col" }, `${d} numbers`)))),
      element("tbody", {}, ...Object.keys(BITS).map((format) =>
        element("tr", {}, element("th", { scope: "row" }, NAMES[format]), ...dimensions.map(choice(format)))))));
    if (focused) byId("choices").querySelector("[aria-pressed=true]")?.focus();
    this.#fill(recall, cells);
  }

  #fill(recall, cells) {
    clearTimeout(this.#filling);
    if (!recall.telling) {
      for (const { share } of cells) share.textContent = "–";
      return;
    }
    const next = () => {
      const cell = cells.shift();
      if (!cell) return;
      const kept = recall.of(cell.dimension, cell.format);
      cell.share.textContent = percent(kept);
      cell.share.closest("td").style.setProperty("--share", `${Math.round(100 * kept)}%`);
      this.#filling = setTimeout(next);
    };
    next();
  }

  #light() {
    for (const marked of this.ranks.querySelectorAll("[data-at]")) marked.classList.toggle("lit", this.pointed.has(Number(marked.dataset.at)));
  }
}

const percent = (share) => `${Math.round(100 * share)} %`;

/** Of a million vectors. */
function gigabytes(each) {
  const size = (each * MILLION) / 1e9;
  return size < 0.1 ? `${Math.round(1000 * size)} MB` : `${size.toFixed(1)} GB`;
}

function note({ trained, isWhole }, recall) {
  if (!recall.telling) return `With more than ${FIRST + 1} documents, this says how many matches are kept.`;
  if (!trained) return "This model was not trained to be cut, so it loses more than one that was, such as EmbeddingGemma.";
  return isWhole ? "Move the slider: this model was trained so that the first numbers matter most." : "";
}
