/** Search: documents ranked by how near their vectors are to that of the query, as it is typed. */

import { read } from "./api.js";
import { cutNote } from "./compare.js";
import { byId, counted, debounced, element } from "./dom.js";
import { LatestRequest } from "./latest_request.js";
import { dot } from "./vectors.js";

const TYPING = 120;
const PASTING = 500;
const FEW = 8;
const MOST = 1000;

/** Returns what makes the requests for the query and for the documents, for the examples. */
export function startSearch(session) {
  const requests = new LatestRequest(session, byId("search-notice"));
  const results = new Results();
  const refresh = () => {
    byId("documents-progress").hidden = true; // what it is for may be over; if not, it is shown again at once
    results.expect(documents().length);
    return requests.take((options) => search(session, results, options));
  };
  byId("query").addEventListener("input", debounced(refresh, TYPING));
  byId("documents").addEventListener("input", debounced(refresh, PASTING));
  session.addEventListener("change", refresh);
  byId("load-abstracts").addEventListener("click", () => loadAbstracts(requests));
  return {
    query: () => ({ query: query() || "What is machine learning?" }),
    documents: () => ({ query: documents().length ? documents() : ["A document to search in."], task: "document" }),
  };
}

async function search(session, results, options) {
  const texts = documents();
  if (!texts.length) return "";
  const { vectors, cut } = await embedded(session, texts, options);
  const most = tooMany() ? `Only the first ${MOST.toLocaleString("en")} documents are searched.` : "";
  const told = [most, cutNote(cut, session.status)].filter(Boolean).join(" ");
  if (!query()) {
    results.clear();
    return told;
  }
  const start = performance.now();
  const asked = await session.vectors.of([query()], "query", options);
  const answered = performance.now();
  const found = ranked(texts, vectors, asked.vectors[0]);
  results.show(found, { embedding: answered - start, comparing: performance.now() - answered });
  return told;
}

/** The documents' vectors, with a bar while they come. */
async function embedded(session, texts, options) {
  const bar = byId("documents-progress");
  const progress = (done, all) => {
    bar.hidden = false;
    bar.value = done / all;
  };
  try {
    return await session.vectors.of(texts, "document", { ...options, progress });
  } finally {
    if (!options.signal.aborted) bar.hidden = true;
  }
}

function ranked(texts, vectors, asked) {
  const scored = texts.map((text, i) => ({ text, score: dot(asked, vectors[i]) }));
  return scored.sort((a, b) => b.score - a.score);
}

async function loadAbstracts(requests) {
  const field = byId("documents");
  const before = field.value;
  let found;
  try {
    found = await read("page/abstracts.json");
  } catch (error) {
    requests.report(error, () => loadAbstracts(requests));
    return;
  }
  if (field.value !== before) return; // the visitor has something else in mind by now
  putIn(field, found.map(({ title, text }) => `${title}\n${text}`).join("\n\n"));
}

/** Replace what is in `field` so that undo brings it back, and leave the focus where it is. */
function putIn(field, text) {
  const focused = document.activeElement;
  field.focus({ preventScroll: true });
  field.select();
  if (!document.execCommand("insertText", false, text)) { // old, but the one way that undo knows of
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  field.setSelectionRange(0, 0);
  field.scrollTop = 0;
  focused.focus({ preventScroll: true });
}

const query = () => byId("query").value.trim();

/** What is pasted: parted by blank lines, or where there are none, one a line. */
function pieces() {
  const pasted = byId("documents").value.trim();
  const parts = pasted.split(/\n\s*\n/);
  return (parts.length > 1 ? parts : pasted.split("\n")).map((part) => part.trim()).filter(Boolean);
}

const documents = () => pieces().slice(0, MOST);
const tooMany = () => pieces().length > MOST;

class Results {
  #all = false;
  #count = 0;
  #found = [];
  #times = null;

  constructor() {
    byId("results-more").addEventListener("click", () => {
      this.#all = !this.#all;
      this.#draw();
    });
  }

  show(found, times) {
    this.#found = found;
    this.#times = times;
    this.#draw();
  }

  /** Say what there is to search in, until there are results. */
  expect(count) {
    this.#count = count;
    if (!count || !this.#found.length) this.clear();
  }

  clear() {
    this.#found = [];
    byId("search-summary").textContent = this.#count
      ? `${counted(this.#count, "document")} to search in.`
      : "Nothing to search in yet: load the abstracts, or paste documents.";
    byId("results").replaceChildren();
    byId("results-more").hidden = true;
  }

  #draw() {
    const { embedding, comparing } = this.#times;
    byId("search-summary").textContent =
      `${counted(this.#found.length, "document")} ranked in ${milliseconds(embedding + comparing)}: ` +
      `${milliseconds(embedding)} for the query’s vector, ${milliseconds(comparing)} to compare.`;
    const shown = this.#all ? this.#found : this.#found.slice(0, FEW);
    byId("results").replaceChildren(...shown.map(result));
    byId("results-more").hidden = this.#found.length <= FEW;
    byId("results-more").textContent = this.#all ? "Show fewer" : `Show all ${this.#found.length}`;
  }
}

function result({ text, score }) {
  const [first, ...rest] = text.split("\n");
  const bar = element("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${Math.round(100 * Math.max(0, score))}%`);
  const value = element("span", { class: "score" }, element("span", { class: "unseen" }, "Score "), score.toFixed(3));
  const body = rest.length ? [element("strong", {}, first), element("p", {}, rest.join(" "))] : [element("p", {}, first)];
  return element("li", {}, element("div", { class: "measure" }, value, bar), element("div", {}, ...body));
}

const milliseconds = (time) => (time < 1 ? `${time.toFixed(1)} ms` : `${Math.round(time)} ms`);
