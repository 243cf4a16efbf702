/** Search: documents ranked and mapped by how similar their vectors are to that of the query, as it is typed. */

import { cutNote } from "./compare.js";
import { byId, counted, debounced } from "./dom.js";
import { MOST, documents, startDocuments, tooMany } from "./documents.js";
import { csv, download, npy } from "./downloads.js";
import { Unreadable } from "./files.js";
import { LatestRequest } from "./latest_request.js";
import { amid, neighbourhood } from "./layout.js";
import { PointMap } from "./map.js";
import { Pointed } from "./pointed.js";
import { Results } from "./results.js";
import { dot } from "./vectors.js";

const TYPING = 120;
const PASTING = 500;
const LINKED = 3; // documents that the map ties to the query, at most

/**
 * Returns what makes the requests for the query and for the documents, for the examples.
 *
 * @param {Session} session
 * @param {Shortened} shorten shows what the search loses with shorter vectors
 */
export function startSearch(session, shorten) {
  const requests = new LatestRequest(session, byId("search"));
  const found = new Found(shorten);
  const refresh = () => {
    byId("documents-progress").hidden = true; // what it is for may be over; if not, it is shown again at once
    return requests.take((source, options) => search(session, source, found, options));
  };
  byId("query").addEventListener("input", debounced(refresh, TYPING));
  byId("documents").addEventListener("input", debounced(refresh, PASTING));
  for (const chip of document.querySelectorAll("[data-query]")) chip.addEventListener("click", () => ask(chip.dataset.query));
  session.addEventListener("source", refresh);
  startDocuments((error, retry) => {
    if (error instanceof Unreadable) requests.say(error.message, "problem");
    else requests.report(error, retry);
  });
  startDownloads(found);
  refresh();
  return {
    query: () => ({ query: query() || "What is machine learning?" }),
    documents: () => ({ query: documents().length ? documents() : ["A document to search in."], task: "document" }),
  };
}

async function search(session, source, found, options) {
  const texts = documents();
  if (!texts.length) {
    found.clear();
    return "";
  }
  const model = session.model;
  const { vectors, rows, cut } = await embedded(source, texts, options);
  const most = tooMany() ? `Only the first ${MOST.toLocaleString("en")} documents are searched.` : "";
  const told = [most, cutNote(cut, model)].filter(Boolean).join(" ");
  found.documents(texts, vectors, rows, model);
  if (!query()) {
    found.withoutQuery();
    return told;
  }
  const start = performance.now();
  const asked = await source.of([query()], "query", options);
  found.query(query(), asked.vectors[0], session.live ? start : null);
  return told;
}

/** The documents' vectors, with a bar while they come. */
async function embedded(source, texts, options) {
  const bar = byId("documents-progress");
  const progress = (done, all) => {
    bar.hidden = false;
    bar.value = done / all;
  };
  try {
    return await source.of(texts, "document", { ...options, progress });
  } finally {
    if (!options.signal.aborted) bar.hidden = true;
  }
}

function ask(text) {
  const field = byId("query");
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

const query = () => byId("query").value.trim();

/** What is searched in and for, in each of its pictures. */
class Found {
  pointed = new Pointed();
  texts = [];
  #vectors = [];
  #scores = null;

  constructor(shorten) {
    this.shorten = shorten;
    this.results = new Results(this.pointed);
    this.map = new PointMap(byId("documents-map"), this.pointed, { name: "A map of the documents" });
    this.pointed.addEventListener("change", () => this.#colour());
    shorten.link(this.pointed);
  }

  documents(texts, vectors, rows, model) {
    this.rows = rows;
    this.shorten.offer(model.matryoshka_dimensions ?? [vectors[0].length]);
    for (const button of ["download-npy", "download-csv"]) byId(button).disabled = false;
    if (vectors.length === this.#vectors.length && vectors.every((vector, i) => vector === this.#vectors[i])) return;
    this.texts = texts;
    this.#vectors = vectors;
    this.#scores = null;
    const spoken = `A map of ${counted(texts.length, "document")}. The list of results has them in order.`;
    this.map.show({ names: texts.map(titleOf), steps: neighbourhood(vectors), colours: null, query: null, spoken });
  }

  /** Rank by `asked`, the vector of the query `text`; `start` is when it was asked for, null where that says nothing. */
  query(text, asked, start) {
    const scores = this.#vectors.map((vector) => dot(asked, vector));
    const order = scores.map((_, i) => i).sort((i, j) => scores[j] - scores[i]);
    this.#scores = scores;
    const milliseconds = start === null ? null : performance.now() - start;
    this.results.show({ query: text, texts: this.texts, scores, order, milliseconds });
    const nearest = order.slice(0, LINKED).filter((i) => scores[i] > scores[order[0]] / 2);
    this.map.change({ query: { name: text, among: (points) => amid(points, scores), nearest } });
    this.#colour();
    this.shorten.show(this.texts.map(titleOf), this.#vectors, asked);
  }

  withoutQuery() {
    this.#scores = null;
    this.results.clear(`${counted(this.texts.length, "document")} to search in.`);
    this.map.change({ query: null, colours: null });
    this.shorten.clear();
  }

  clear() {
    [this.texts, this.#vectors, this.#scores] = [[], [], null];
    for (const button of ["download-npy", "download-csv"]) byId(button).disabled = true;
    this.results.clear("Paste documents, or load the samples.");
    this.map.clear();
    this.shorten.clear();
  }

  /** Colour the map by how similar the documents are to the one pointed at, or else to the query. */
  #colour() {
    const [i] = this.pointed.places;
    const scores = this.#vectors[i] ? this.#vectors.map((vector) => dot(vector, this.#vectors[i])) : this.#scores;
    if (!scores) return;
    const others = scores.filter((_, j) => j !== i);
    const [low, high] = [Math.min(...others), Math.max(...others)];
    this.map.change({ colours: scores.map((score) => (score - low) / (high - low || 1)) });
  }
}

const titleOf = (text) => text.split("\n", 1)[0];

function startDownloads(found) {
  byId("download-npy").addEventListener("click", () => download("vectors.npy", npy(found.rows), "application/octet-stream"));
  byId("download-csv").addEventListener("click", () => download("vectors.csv", csv(found.texts, found.rows), "text/csv"));
}
