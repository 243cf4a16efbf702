/** Compare: sentences, how similar their vectors are, and how that holds as the vectors are shortened. */

import { startCutter } from "./cutter.js";
import { byId, counted, debounced, walkable } from "./dom.js";
import { Heatmap } from "./heatmap.js";
import { LatestRequest } from "./latest_request.js";
import { aligned, plane } from "./layout.js";
import { LitLines } from "./lines.js";
import { PointMap } from "./map.js";
import { showPairs } from "./pairs.js";
import { Pointed, placesOf } from "./pointed.js";
import { shorten, similarities, upper } from "./vectors.js";

const MOST = 24;
const TYPING = 350;

/** Returns what makes the request for the sentences, for the examples. */
export function startCompare(session, cut) {
  const requests = new LatestRequest(session, byId("compare"));
  const pointed = new Pointed();
  const picture = new Picture(pointed, cut);
  new LitLines(byId("sentences"), byId("sentence-lines"), pointed);
  startCutter(byId("compare-cutter"), cut, "dimension");
  const refresh = () =>
    requests.take(async (source, options) => {
      const texts = sentences();
      if (texts.length < 2) {
        picture.clear();
        return "Two sentences are needed to compare them.";
      }
      const model = session.model;
      const { vectors, cut: tooLong } = await source.of(texts, task(), options);
      cut.offer(model.matryoshka_dimensions ?? [vectors[0].length]);
      picture.show(texts, vectors);
      byId("announced").textContent = `${texts.length} sentences compared.`;
      const told = tooMany() ? `Only the first ${MOST} sentences are compared.` : "";
      return [told, cutNote(tooLong, model)].filter(Boolean).join(" ");
    });
  byId("sentences").addEventListener("input", debounced(refresh, TYPING));
  document.getElementsByName("task").forEach((choice) => choice.addEventListener("change", refresh));
  session.addEventListener("source", refresh);
  refresh();
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

/** The heat map, the map and the pairs of one set of vectors, shortened as the slider says. */
class Picture {
  #full = null;

  constructor(pointed, cut) {
    this.pointed = pointed;
    this.cut = cut;
    this.heatmap = new Heatmap(byId("heat"), byId("heat-legend"), byId("heat-readout"), pointed);
    this.map = new PointMap(byId("map"), pointed, { numbered: true, name: "A map of the sentences" });
    this.pairs = byId("pairs");
    pointed.watch(this.pairs, placesOf);
    walkable(this.pairs);
    pointed.addEventListener("change", () => this.#light());
    cut.addEventListener("change", () => this.#full && this.#draw());
  }

  show(texts, vectors) {
    const rows = similarities(vectors);
    this.#full = { texts, vectors, rows, points: plane(rows).points, lowest: scaleStart(rows) };
    byId("compare").classList.remove("nothing");
    this.#draw();
  }

  clear() {
    this.#full = null;
    this.heatmap.clear();
    this.map.clear();
    this.pairs.replaceChildren();
    byId("compare").classList.add("nothing");
  }

  #draw() {
    const { texts, vectors, rows: full, points: before, lowest } = this.#full;
    const { dimension, format, isWhole } = this.cut;
    if (dimension > vectors[0].length) return; // the next answer brings its own cuts
    const rows = isWhole ? full : similarities(vectors.map((vector) => shorten(vector, dimension, format)));
    this.#full.now = rows;
    this.heatmap.show(texts, rows, full, lowest);
    const { points, share } = plane(rows);
    const steps = [aligned(points, before)][Symbol.iterator]();
    this.map.show({ names: texts, steps, ghosts: isWhole ? [] : before, spoken: spoken(texts, points), keepView: true });
    byId("map-note").textContent = mapNote(share, isWhole);
    showPairs(this.pairs, texts, rows, full);
    this.#light();
  }

  /** Colour the map by how similar each sentence is to the one pointed at. */
  #light() {
    if (!this.#full) return;
    const [i, j] = this.pointed.places;
    this.map.change({ colours: i === undefined ? null : this.#full.now[i] });
    for (const line of this.pairs.children) {
      const places = placesOf(line);
      line.classList.toggle("lit", j === undefined ? places.includes(i) : places.includes(i) && places.includes(j));
    }
  }
}

/** Where the colours start: the lowest similarity, down to a round number. */
const scaleStart = (rows) => Math.max(-1, Math.floor(Math.min(...upper(rows), 0.5) * 10) / 10);

function mapNote(share, isWhole) {
  const ghosts = isWhole ? "" : " A dotted line leads from where a sentence was with full vectors.";
  return `A flat map keeps only ${Math.round(100 * share)} % of the differences between these vectors; the list of pairs is exact.${ghosts}`;
}

/** The map in words: each sentence's nearest one. */
function spoken(texts, points) {
  const nearest = (i) => {
    const far = (j) => (i === j ? Infinity : Math.hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]));
    return texts.reduce((best, _, j) => (far(j) < far(best) ? j : best), i ? 0 : 1);
  };
  const phrases = texts.map((_, i) => `${i + 1} is nearest to ${nearest(i) + 1}`);
  return `A map of ${texts.length} sentences, by number: ${phrases.join(", ")}. The list of pairs has the values.`;
}
