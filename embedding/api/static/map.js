/** Points in the plane with their sentences beside them, as a drawing. */

import { drawn, shortened } from "./dom.js";

const FLATNESS = 0.64;
const LOWEST = 300;
const EDGE = 34;
const RADIUS = 11;
const LETTER = 6.3; // about the width of one, to keep labels apart
const LABELS = [46, 28, 16];

/** Draw `points` into `room`, with a line to each from where it was in `origin`. */
export function drawMap(room, texts, points, origin) {
  const width = Math.max(room.clientWidth, 280);
  const size = [width, Math.max(LOWEST, Math.round(FLATNESS * width))];
  const place = placer([...points, ...origin], size);
  const [now, before] = [points.map(place), origin.map(place)];
  const labels = labelled(now, texts, size);
  room.replaceChildren(
    drawn("svg", { viewBox: `0 0 ${size.join(" ")}`, role: "img", "aria-label": spoken(texts, points) },
      ...now.flatMap((point, i) => trace(before[i], point)),
      ...labels.map(({ x, y, text, anchor }) => drawn("text", { x, y: y + 4, "text-anchor": anchor, class: "label" }, text)),
      ...now.map(([x, y], i) => dot(x, y, i, texts[i])),
    ),
  );
}

/** What moves and scales points, the same both ways, so that they fill the drawing. */
function placer(points, [width, height]) {
  const ranges = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [low, high] = [Math.min, Math.max].map((end) => ranges.map((values) => end(...values)));
  const [middleX, middleY] = low.map((value, axis) => (value + high[axis]) / 2);
  const [spanX, spanY] = low.map((value, axis) => Math.max(1e-6, high[axis] - value));
  const scale = Math.min((width - 2 * EDGE) / spanX, (height - 2 * EDGE) / spanY);
  return ([x, y]) => [width / 2 + scale * (x - middleX), height / 2 - scale * (y - middleY)];
}

function trace([x1, y1], [x2, y2]) {
  if (Math.hypot(x2 - x1, y2 - y1) < 2) return [];
  return [drawn("circle", { cx: x1, cy: y1, r: 4, class: "ghost" }), drawn("line", { x1, y1, x2, y2, class: "trace" })];
}

function dot(x, y, i, text) {
  return drawn("g", { class: "point" },
    drawn("title", {}, text),
    drawn("circle", { cx: x, cy: y, r: RADIUS }),
    drawn("text", { x, y: y + 4, "text-anchor": "middle" }, String(i + 1)));
}

/** A label beside each point, as long as there is room for; where there is none, the number alone. */
function labelled(points, texts, size) {
  const taken = points.map(([x, y]) => [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS]);
  const labels = [];
  points.forEach((point, i) => {
    const found = LABELS.flatMap((length) => around(point, shortened(texts[i], length))).find(
      ({ box }) => inside(box, size) && !taken.some((other) => overlap(box, other)),
    );
    if (!found) return;
    taken.push(found.box);
    labels.push(found);
  });
  return labels;
}

/** Where a label may go: right, left, above or below. A box is left, top, right, bottom. */
function around([x, y], text) {
  const width = LETTER * text.length;
  const gap = RADIUS + 5;
  return [
    { text, x: x + gap, y, anchor: "start", box: [x + gap, y - 8, x + gap + width, y + 8] },
    { text, x: x - gap, y, anchor: "end", box: [x - gap - width, y - 8, x - gap, y + 8] },
    { text, x, y: y - gap - 4, anchor: "middle", box: [x - width / 2, y - gap - 12, x + width / 2, y - gap + 4] },
    { text, x, y: y + gap + 4, anchor: "middle", box: [x - width / 2, y + gap - 4, x + width / 2, y + gap + 12] },
  ];
}

const inside = ([left, top, right, bottom], [width, height]) => left >= 2 && top >= 2 && right <= width - 2 && bottom <= height - 2;
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

/** The drawing in words: each sentence's nearest one. */
function spoken(texts, points) {
  const nearest = (i) => {
    const far = (j) => (i === j ? Infinity : Math.hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]));
    return texts.reduce((best, _, j) => (far(j) < far(best) ? j : best), i ? 0 : 1);
  };
  const phrases = texts.map((_, i) => `${i + 1} is nearest to ${nearest(i) + 1}`);
  return `A map of ${texts.length} sentences, by number: ${phrases.join(", ")}. The table of pairs has the values.`;
}
