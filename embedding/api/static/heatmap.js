/** A table of similarities, coloured; each value can be pointed at, or walked to by the arrow keys. */

import { element, quoted, shortened } from "./dom.js";
import { placesOf } from "./pointed.js";

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const LEGIBLE = 31; // pixels of a cell for its value to fit
const HINT = "Point at a value, or walk to it with the arrow keys.";

export class Heatmap {
  #cells = [];
  #shown = null;

  constructor(room, legend, readout, pointed) {
    this.room = room;
    this.placeholder = [...room.childNodes];
    this.legend = legend;
    this.readout = readout;
    this.pointed = pointed;
    pointed.watch(room, placesOf);
    pointed.addEventListener("change", () => this.#light());
    room.addEventListener("keydown", (event) => this.#walk(event));
    new ResizeObserver(() => this.#fitNumbers()).observe(room);
  }

  /** Show `rows` for `texts`, coloured from `lowest` to 1; `full` are the values before the cut. */
  show(texts, rows, full, lowest) {
    this.#shown = { texts, rows, full };
    this.#cells = rows.map((row, i) => row.map((value, j) => cell(value, lowest, i, j)));
    this.#cells[0][0].tabIndex = 0;
    const head = element("tr", {}, element("td", {}), ...texts.map((_, i) => columnName(i)));
    const table = element("table", { class: "heat", role: "grid", "aria-labelledby": "heat-title" },
      element("thead", {}, head),
      element("tbody", {}, ...this.#cells.map((cells, i) => element("tr", {}, rowName(texts[i], i), ...cells))));
    this.room.replaceChildren(table);
    this.legend.replaceChildren(lowest.toFixed(1), element("span", { "aria-hidden": "true" }), "1.0");
    this.#fitNumbers();
    this.#light();
  }

  clear() {
    this.#shown = null;
    this.#cells = [];
    this.room.replaceChildren(...this.placeholder);
    this.legend.replaceChildren();
    this.readout.replaceChildren();
  }

  /** Many sentences make small cells: then the colour tells, and the readout has the number. */
  #fitNumbers() {
    const width = this.#cells[0]?.[0].clientWidth;
    if (width) this.room.firstElementChild.classList.toggle("bare", width < LEGIBLE);
  }

  #light() {
    if (!this.#shown) return;
    const [i, j] = this.pointed.places;
    for (const marked of this.room.querySelectorAll(".lit")) marked.classList.remove("lit");
    if (i === undefined || !this.#cells[i] || (j !== undefined && !this.#cells[j])) {
      this.readout.textContent = HINT;
      return;
    }
    const names = this.room.querySelectorAll("tbody th");
    for (const place of [i, j ?? i]) names[place].classList.add("lit");
    if (j !== undefined) for (const [a, b] of [[i, j], [j, i]]) this.#cells[a][b].classList.add("lit");
    this.readout.replaceChildren(...(j === undefined ? this.#nearest(i) : this.#between(i, j)));
  }

  #between(i, j) {
    const { texts, rows, full } = this.#shown;
    const [now, before] = [rows, full].map((values) => values[i][j].toFixed(3));
    const was = now === before ? "" : ` (${before} with full vectors)`;
    return [element("strong", {}, now), `${was} between `, quoted(texts[i]), " and ", quoted(texts[j])];
  }

  #nearest(i) {
    const { texts, rows } = this.#shown;
    const others = rows[i].map((_, j) => j).filter((j) => j !== i);
    const best = others.reduce((found, j) => (rows[i][j] > rows[i][found] ? j : found));
    return [quoted(texts[i]), " is most similar to ", quoted(texts[best]), " ", element("strong", {}, rows[i][best].toFixed(3))];
  }

  #walk(event) {
    const move = MOVES[event.key];
    const [i, j] = event.target.dataset?.cell?.split(",").map(Number) ?? [];
    const next = move && this.#cells[i + move[0]]?.[j + move[1]];
    if (!move || i === undefined) return;
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

function cell(value, lowest, i, j) {
  const label = `${value.toFixed(2)}, sentences ${i + 1} and ${j + 1}`;
  const made = element("td", { role: "gridcell", tabindex: "-1", "data-at": `${i},${j}`, "data-cell": `${i},${j}`, "aria-label": label },
    element("span", {}, figure(value)));
  const share = Math.min(1, Math.max(0, (value - lowest) / (1 - lowest)));
  made.style.setProperty("--share", `${Math.round(100 * share)}%`);
  return made;
}

/** Two places, without the zero before the point: a narrow cell. */
const figure = (value) => value.toFixed(2).replace(/^(-?)0\./, "$1.").replace("-.00", ".00").replace("1.00", "1").replace("-", "−");

function rowName(text, i) {
  return element("th", { scope: "row", "data-at": i, title: shortened(text, 300) },
    element("b", {}, String(i + 1)), " ", element("bdi", {}, shortened(text, 60)));
}

const columnName = (i) => element("th", { scope: "col", "data-at": i }, String(i + 1));
