/** The table of pairs: which two sentences, and how alike. */

import { element } from "./dom.js";

/** Fill `room` with the pairs of `rows`, the most alike first, and their change since `full` where they were cut. */
export function showPairs(room, rows, full, isCut) {
  const pairs = rows.flatMap((row, i) => row.map((value, j) => ({ i, j, value, change: value - full[i][j] })));
  const sorted = pairs.filter(({ i, j }) => i < j).sort((a, b) => b.value - a.value);
  const names = ["Pair", "Cosine", ...(isCut ? ["Change"] : [])];
  room.replaceChildren(
    element("table", {},
      element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...sorted.map((pair) => line(pair, isCut)))),
  );
}

function line({ i, j, value, change }, isCut) {
  const cells = [element("td", {}, value.toFixed(3)), ...(isCut ? [element("td", {}, signed(change))] : [])];
  return element("tr", {}, element("th", { scope: "row" }, `${i + 1} and ${j + 1}`), ...cells);
}

const signed = (change) => `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(3)}`;
