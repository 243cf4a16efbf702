/** The list of pairs: how similar, and which two texts. */

import { element, shortened } from "./dom.js";

/** Fill `room` with the pairs of `rows`, the most similar first, and their change since `full` where it shows. */
export function showPairs(room, texts, rows, full) {
  const pairs = rows.flatMap((row, i) => row.map((value, j) => ({ i, j, value, change: value - full[i][j] })));
  const sorted = pairs.filter(({ i, j }) => i < j).sort((a, b) => b.value - a.value);
  room.replaceChildren(...sorted.map((pair) => line(texts, pair)));
  room.firstElementChild.tabIndex = 0;
}

function line(texts, { i, j, value, change }) {
  const moved = Math.abs(change) < 0.0005 ? [] : [element("small", {}, signed(change))];
  return element("li", { "data-at": `${i},${j}`, tabindex: "-1" },
    element("span", { class: "score" }, value.toFixed(3).replace("-", "−"), ...moved),
    element("span", { class: "two" }, ...[i, j].map((place) =>
      element("span", {}, element("b", {}, String(place + 1)), " ", element("bdi", {}, shortened(texts[place], 120))))));
}

const signed = (change) => `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(3)}`;
