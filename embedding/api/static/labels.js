/** Labels beside points on a canvas: none on another, in whichever script and direction. */

import { shortened } from "./dom.js";

const LENGTHS = [44, 28, 16];
const TALL = 17;
const RIGHT_TO_LEFT = /^[^\p{L}]*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

export const directionOf = (text) => (RIGHT_TO_LEFT.test(text) ? "rtl" : "ltr");

/**
 * Where there is room for `names` beside `places`: the first come first, and where there is none, none.
 *
 * @param {CanvasRenderingContext2D} pen measures the names as it would write them
 * @param {{name: string, place: [number, number], gap: number}[]} wanted
 * @param {[number, number, number, number][]} taken boxes, left, top, right, bottom; those of the labels are added
 * @param {[number, number]} size
 */
export function placed(pen, wanted, taken, size) {
  const found = [];
  for (const { name, place, gap } of wanted) {
    const label = [...candidates(pen, name, place, gap)].find(
      ({ box }) => inside(box, size) && !taken.some((other) => overlap(box, other)),
    );
    if (!label) continue;
    taken.push(label.box);
    found.push({ name, ...label });
  }
  return found;
}

function* candidates(pen, name, [x, y], gap) {
  for (const length of LENGTHS) {
    const text = shortened(name, length);
    const width = pen.measureText(text).width;
    const half = TALL / 2;
    yield { text, x: x + gap, y, align: "left", box: [x + gap, y - half, x + gap + width, y + half] };
    yield { text, x: x - gap, y, align: "right", box: [x - gap - width, y - half, x - gap, y + half] };
    for (const middle of [y - gap - half, y + gap + half]) {
      yield { text, x, y: middle, align: "center", box: [x - width / 2, middle - half, x + width / 2, middle + half] };
    }
    if (text === name) return; // it won't get shorter
  }
}

const inside = ([left, top, right, bottom], [width, height]) => left >= 4 && top >= 4 && right <= width - 4 && bottom <= height - 4;
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
