/** Compare: sentences, how alike their vectors are, and how that holds as the vectors are cut. */

import { byId, counted, debounced, describe, element } from "./dom.js";
import { Heatmap } from "./heatmap.js";
import { drawMap } from "./map.js";
import { showPairs } from "./pairs.js";
import { LatestRequest } from "./latest_request.js";
import { aligned, cut, cuts, plane, rankCorrelation, similarities, upper } from "./vectors.js";

const MOST = 24;
const TYPING = 350;

/** Returns what makes the request for the sentences, for the examples. */
export function startCompare(session) {
  const requests = new LatestRequest(session, byId("compare-notice"));
  const picture = new Picture();
  const refresh = () =>
    requests.take(async (options) => {
      const texts = sentences();
      const told = tooMany() ? `Only the first ${MOST} sentences are compared.` : "";
      if (texts.length < 2) {
        picture.clear();
        return "Two sentences are needed to compare them.";
      }
      const { vectors, cut } = await session.vectors.of(texts, task(), options);
      picture.show(texts, vectors, session.status);
      byId("announced").textContent = `${texts.length} sentences compared.`;
      return [told, cutNote(cut, session.status)].filter(Boolean).join(" ");
    });
  byId("sentences").addEventListener("input", debounced(refresh, TYPING));
  document.getElementsByName("task").forEach((choice) => choice.addEventListener("change", refresh));
  session.addEventListener("change", refresh);
  return { sentences: () => ({ query: sentences(), task: task() }) };
}

/** In words, which of the texts the model did not read to their end. */
export function cutNote(places, { max_input_length: limit }) {
  if (!places.length) return "";
  const which = places.length > 3 ? counted(places.length, "text") : `text ${places.map((i) => i + 1).join(", ")}`;
  return `Too long for the model: it reads ${limit ? `${limit.toLocaleString("en")} tokens` : "a part"} of ${which}, and not the rest.`;
}

const lines = () => byId("sentences").value.split("\n").map((line) => line.trim()).filter(Boolean);
const sentences = () => lines().slice(0, MOST);
const tooMany = () => lines().length > MOST;
const task = () => document.querySelector("[name=task]:checked").value;

/** The heat map, the map and the pairs of one set of vectors, at the dimension that the slider says. */
class Picture {
  #heatmap = new Heatmap(byId("heat"), byId("heat-legend"), byId("heat-readout"));
  #slider = byId("dimension");
  #dimensions = [];
  #full = null;

  constructor() {
    this.#slider.addEventListener("input", () => this.#full && this.#draw());
    new ResizeObserver(() => this.#full && this.#drawMap()).observe(byId("map"));
  }

  show(texts, vectors, { matryoshka_dimensions: dimensions }) {
    const rows = similarities(vectors);
    this.#full = { texts, vectors, rows, plane: plane(rows), lowest: scaleStart(rows) };
    this.#offer(dimensions ?? [vectors[0].length]);
    byId("compare-bottom").hidden = false; // before it is drawn into, for it to have a width
    this.#draw();
  }

  clear() {
    this.#full = null;
    this.#heatmap.clear();
    byId("compare-bottom").hidden = true;
    byId("dimension-facts").replaceChildren();
  }

  #offer(dimensions) {
    const offered = cuts(dimensions);
    if (String(offered) === String(this.#dimensions)) return;
    this.#dimensions = offered;
    this.#slider.max = offered.length - 1;
    this.#slider.value = offered.length - 1;
    this.#slider.disabled = offered.length < 2;
    byId("dimension-ticks").replaceChildren(...offered.toReversed().map((dimension) => element("span", {}, String(dimension))));
    if (dimensions.length < 2) {
      byId("dimension-note").textContent =
        "This model was not trained to be cut, so its picture falls apart sooner than that of one that was.";
    }
  }

  #draw() {
    const { texts, rows: full, lowest } = this.#full;
    const [widest, dimension] = [this.#dimensions[0], this.#dimension];
    const rows = this.#rows();
    this.#slider.setAttribute("aria-valuetext", `${dimension} of ${widest} numbers`);
    describe(byId("dimension-facts"), held(dimension, widest, upper(rows), upper(full)));
    this.#heatmap.show(texts, rows, full, lowest);
    this.#drawMap();
    showPairs(byId("pairs"), rows, full, dimension < widest);
  }

  #drawMap() {
    const { texts, plane: whole } = this.#full;
    const now = plane(this.#rows());
    drawMap(byId("map"), texts, aligned(now.points, whole.points), whole.points);
    byId("map-note").textContent = mapNote(now.share, this.#dimension < this.#dimensions[0]);
  }

  get #dimension() {
    return this.#dimensions[this.#dimensions.length - 1 - this.#slider.value];
  }

  #rows() {
    return similarities(this.#full.vectors.map((vector) => cut(vector, this.#dimension)));
  }
}

/** Where the colours start: the lowest similarity, down to a round number. */
const scaleStart = (rows) => Math.max(-1, Math.floor(Math.min(...upper(rows), 0.5) * 10) / 10);

function mapNote(share, isCut) {
  const ghosts = isCut ? " A line leads from where a sentence was before the cut." : "";
  return `The plane shows ${Math.round(100 * share)} % of the differences.${ghosts}`;
}

/** What is kept of the vectors and of their similarities when cut from `widest` to `dimension`. */
function held(dimension, widest, now, full) {
  const moved = now.map((x, i) => Math.abs(x - full[i]));
  const [bytes, before] = [4 * dimension, 4 * widest];
  return [
    ["Kept", `${dimension} of ${widest}`],
    ["Saved", dimension === widest ? "nothing" : `${Math.round(100 * (1 - dimension / widest))} %`],
    ["A million vectors", `${(bytes / 1000).toFixed(1)} GB${dimension === widest ? "" : ` instead of ${(before / 1000).toFixed(1)}`}`],
    ["Largest change", Math.max(...moved).toFixed(3)],
    ["Order of the pairs", `${rankCorrelation(now, full).toFixed(2)} of 1`],
  ];
}
