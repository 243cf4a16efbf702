/** The ranked list: documents, how similar they are to the query, and what a search by words would have found. */

import { byId, counted, element, walkable } from "./dom.js";
import { placesOf } from "./pointed.js";
import { keywords, marked, rankedByWords } from "./words.js";

const FEW = 6;
const MOST_SHOWN = 200;

export class Results {
  #all = false;
  #found = null;

  constructor(pointed) {
    this.list = byId("results");
    this.pointed = pointed;
    pointed.watch(this.list, placesOf);
    pointed.addEventListener("change", () => this.#light());
    walkable(this.list);
    byId("results-more").addEventListener("click", () => {
      this.#all = !this.#all;
      this.#draw();
    });
  }

  /**
   * @param {{query: string, texts: string[], scores: number[], order: number[], milliseconds: number|null}} found `order`
   *   has the places of the documents, the best first
   */
  show(found) {
    this.#found = { ...found, byWords: rankedByWords(found.texts, found.query), asked: keywords(found.query) };
    this.#draw();
  }

  clear(words) {
    this.#found = null;
    byId("search-summary").textContent = words;
    this.list.replaceChildren();
    byId("results-more").hidden = true;
  }

  #draw() {
    const { order, texts } = this.#found;
    const more = byId("results-more");
    byId("search-summary").replaceChildren(...this.#summary());
    const shown = order.slice(0, this.#all ? MOST_SHOWN : FEW);
    this.list.replaceChildren(...shown.map((place, i) => this.#result(place, i)));
    this.list.firstElementChild.tabIndex = 0;
    more.hidden = order.length <= FEW;
    more.textContent = this.#all ? "Show fewer" : `Show ${order.length > MOST_SHOWN ? `the first ${MOST_SHOWN}` : `all ${texts.length}`}`;
    this.#light();
  }

  #summary() {
    const { order, byWords, texts, milliseconds } = this.#found;
    const time = milliseconds === null ? "" : ` in ${milliseconds < 1 ? "1" : Math.round(milliseconds)} ms`;
    const first = order.slice(0, Math.min(3, order.length));
    const silent = first.filter((place) => !byWords[place].shared).length;
    const told = silent ? ` ${silent} of the first ${first.length} share${silent === 1 ? "s" : ""} no word with your query.` : "";
    return [`${counted(texts.length, "document")} ranked by meaning${time}.`, element("b", {}, told)];
  }

  #result(place, i) {
    const { texts, scores, asked, byWords } = this.#found;
    const [first, ...rest] = texts[place].split("\n");
    const score = scores[place];
    const bar = element("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", `${Math.round(100 * Math.max(0, score))}%`);
    const value = element("span", { class: "score" }, element("span", { class: "unseen" }, `Place ${i + 1}, similarity `), score.toFixed(3).replace("-", "−"));
    const title = element(rest.length ? "strong" : "p", { dir: "auto" }, ...marked(first, asked));
    const text = rest.length ? [element("p", { dir: "auto" }, ...marked(rest.join(" "), asked))] : [];
    return element("li", { "data-at": place, tabindex: "-1" },
      element("div", { class: "measure" }, value, bar),
      element("div", {}, title, ...text, element("small", {}, wordsNote(byWords[place]))));
  }

  #light() {
    for (const item of this.list.children) item.classList.toggle("lit", this.pointed.has(placesOf(item)[0]));
  }
}

function wordsNote({ shared, rank }) {
  if (rank === null) return "No word in common: a search by words would miss it.";
  return `${counted(shared, "word")} in common; number ${rank} in a search by words.`;
}
