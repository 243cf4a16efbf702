/** A table of similarities, coloured; each value can be pointed at, or walked to by the arrow keys. */

import { element, shortened } from "./dom.js";

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Heatmap {
  #cells = [];
  #shown = null;

  constructor(room, legend, readout) {
    this.room = room;
    this.placeholder = [...room.childNodes];
    this.legend = legend;
    this.readout = readout;
    room.addEventListener("pointerover", ({ target }) => this.#tell(target));
    room.addEventListener("focusin", ({ target }) => this.#tell(target));
    room.addEventListener("keydown", (event) => this.#walk(event));
  }

  /** Show `rows` for `texts`, coloured from `lowest` to 1; `full` are the values before the cut. */
  show(texts, rows, full, lowest) {
    this.#shown = { texts, rows, full };
    this.#cells = rows.map((row, i) => row.map((value, j) => cell(value, lowest, i, j)));
    this.#cells[0][0].tabIndex = 0;
    const names = texts.map((text, i) => rowName(text, i));
    const head = element("tr", {}, element("td", {}), ...texts.map((text, i) => columnName(text, i)));
    const table = element("table", { class: "heat", role: "grid", "aria-labelledby": "heat-title" },
      element("thead", {}, head),
      element("tbody", {}, ...this.#cells.map((cells, i) => element("tr", {}, names[i], ...cells))));
    table.style.setProperty("--count", texts.length);
    this.room.replaceChildren(table);
    this.legend.replaceChildren(lowest.toFixed(1), element("span", { "aria-hidden": "true" }), "1.0");
    this.readout.textContent = "Point at a value, or walk to it with the arrow keys.";
  }

  clear() {
    this.room.replaceChildren(...this.placeholder);
    this.legend.replaceChildren();
    this.readout.replaceChildren();
  }

  #tell(target) {
    const place = target.dataset?.at?.split(",").map(Number);
    if (!place) return;
    const { texts, rows, full } = this.#shown;
    const [i, j] = place;
    const value = rows[i][j].toFixed(3);
    const before = full[i][j].toFixed(3);
    const strong = element("strong", {}, value);
    const was = before === value ? "" : ` (uncut ${before})`;
    this.readout.replaceChildren(strong, `${was} between “${texts[i]}” and “${i === j ? "itself" : texts[j]}”`);
  }

  #walk(event) {
    const move = MOVES[event.key];
    const place = event.target.dataset?.at?.split(",").map(Number);
    if (!move || !place) return;
    event.preventDefault();
    const next = this.#cells[place[0] + move[0]]?.[place[1] + move[1]];
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

function cell(value, lowest, i, j) {
  const made = element("td", { role: "gridcell", tabindex: "-1", "data-at": `${i},${j}` }, figure(value));
  const share = Math.min(1, Math.max(0, (value - lowest) / (1 - lowest)));
  made.style.setProperty("--share", `${Math.round(100 * share)}%`);
  return made;
}

/** Two places, without the zero before the point: a narrow cell. */
const figure = (value) => value.toFixed(2).replace(/^(-?)0\./, "$1.").replace("-.00", ".00").replace("1.00", "1").replace("-", "−");

function rowName(text, i) {
  return element("th", { scope: "row" }, element("b", {}, String(i + 1)), " ", element("span", { title: text }, shortened(text, 60)));
}

function columnName(text, i) {
  return element("th", { scope: "col", title: text }, String(i + 1));
}
