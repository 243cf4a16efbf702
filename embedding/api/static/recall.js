/** How much of a search is left with shortened vectors: the recall of the first ten. */

import { dot, shorten } from "./vectors.js";

export const FIRST = 10;
const QUERIES = 60; // of so many documents, in turn, the neighbours are looked for

/** The places of the `count` vectors most similar to `asked`, the best first, but for the place `but`. */
export function nearest(asked, vectors, count, but = -1) {
  const scores = vectors.map((vector) => dot(asked, vector));
  const order = scores.map((_, i) => i).filter((i) => i !== but);
  return order.sort((i, j) => scores[j] - scores[i] || i - j).slice(0, count);
}

/**
 * Recall at ten: of the ten documents that are nearest to a document by full vectors, the share that is among the first
 * ten by shortened ones; the mean over documents.
 */
export class Recall {
  #known = new Map();

  /** @param {Float32Array[]} vectors full ones, of unit length */
  constructor(vectors) {
    this.vectors = vectors;
    const step = Math.max(1, vectors.length / QUERIES);
    this.queries = Array.from({ length: Math.min(QUERIES, vectors.length) }, (_, i) => Math.floor(i * step));
    this.full = this.#lists(vectors);
  }

  /** Whether there are documents enough for it to say something. */
  get telling() {
    return this.vectors.length > FIRST + 1;
  }

  of(dimension, format) {
    const key = `${dimension} ${format}`;
    if (!this.#known.has(key)) {
      const lists = this.#lists(this.vectors.map((vector) => shorten(vector, dimension, format)));
      const kept = lists.map((list, i) => list.filter((place) => this.full[i].includes(place)).length / list.length);
      this.#known.set(key, kept.reduce((a, b) => a + b, 0) / kept.length);
    }
    return this.#known.get(key);
  }

  #lists(vectors) {
    return this.queries.map((place) => nearest(vectors[place], vectors, FIRST, place));
  }
}
