/** Where vectors come from: the server, or the recorded example for a visitor without a token. */

import { Problem, patiently, predict, read } from "./api.js";
import { unit } from "./vectors.js";

const BATCH = 32; // small enough to show progress, large enough to lose no time
const REMEMBERED = 4000;

/** Vectors by text and task, each asked for once. */
export class Server {
  #known = new Map();
  #told;

  /** @param {(timing: object) => void} told is given the timing of each answer */
  constructor(told) {
    this.#told = told;
  }

  /**
   * The unit vectors of `texts`, the rows as they came, and the places of those that were cut to the model's limit.
   *
   * @param {string[]} texts
   * @param {"query"|"document"} task
   * @param {{token: string, limit: number, signal: AbortSignal,
   *   progress?: (done: number, all: number) => void, waiting?: (problem: Problem) => void}} options
   * @returns {Promise<{vectors: Float32Array[], rows: Float32Array[], cut: number[]}>}
   */
  async of(texts, task, options) {
    const key = (text) => `${task} ${text}`;
    const missing = [...new Set(texts)].filter((text) => !this.#known.has(key(text)));
    const size = Math.min(BATCH, options.limit);
    for (let start = 0; start < missing.length; start += size) {
      options.progress?.(start, missing.length);
      const batch = missing.slice(start, start + size);
      const { rows, cut, timing } = await patiently(() => predict(batch, task, options), options);
      this.#told({ ...timing, texts: batch.length });
      batch.forEach((text, i) => this.#known.set(key(text), { row: rows[i], vector: unit(rows[i]), cut: cut.has(i) }));
    }
    options.signal.throwIfAborted();
    const entries = texts.map((text) => this.#known.get(key(text)));
    this.#forget();
    return {
      vectors: entries.map(({ vector }) => vector),
      rows: entries.map(({ row }) => row),
      cut: entries.flatMap(({ cut }, i) => (cut ? [i] : [])),
    };
  }

  #forget() {
    for (const key of this.#known.keys()) {
      if (this.#known.size <= REMEMBERED) return;
      this.#known.delete(key);
    }
  }
}

/** The vectors of the page's own texts, recorded from the demo model: one byte a number. Its model has no prompts. */
export class Recorded {
  #reading;

  async of(texts, task, options) {
    const { byText } = await (this.#reading ??= this.#read());
    options.signal.throwIfAborted();
    if (!texts.every((text) => byText.has(text))) {
      throw new Problem("unrecorded", "The recorded example has no vectors for these words.");
    }
    const vectors = texts.map((text) => byText.get(text));
    return { vectors, rows: vectors, cut: [] };
  }

  async #read() {
    try {
      const [{ dimension, vectors }, texts] = await Promise.all([read("page/recorded.json"), textsOfThePage()]);
      const bytes = Int8Array.from(atob(vectors), (character) => character.charCodeAt(0));
      const vector = (i) => unit(Float32Array.from(bytes.subarray(i * dimension, (i + 1) * dimension)));
      return { byText: new Map(texts.map((text, i) => [text, vector(i)])) };
    } catch (error) {
      this.#reading = null; // another try may do
      throw error;
    }
  }
}

/** The texts that are recorded, in their order: the page's own, whatever the visitor has put in their place. */
async function textsOfThePage() {
  const abstracts = await read("page/abstracts.json");
  return [
    ...document.getElementById("sentences").defaultValue.split("\n"),
    ...[...document.querySelectorAll("[data-query]")].map((chip) => chip.dataset.query),
    ...abstracts.map(({ title, text }) => `${title}\n${text}`),
  ];
}
