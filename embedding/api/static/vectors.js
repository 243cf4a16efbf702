/** Vectors: cut, compared, and laid out in the plane. Everything here is deterministic. */

const STEPS = 400;

export function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return length ? vector.map((x) => x / length) : vector;
}

/** The first `dimension` numbers of `vector`, at length one again. */
export const cut = (vector, dimension) => unit(vector.slice(0, dimension));

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** The cosine of every pair of unit vectors: n rows of n. */
export const similarities = (vectors) => vectors.map((a) => vectors.map((b) => Math.min(1, Math.max(-1, dot(a, b)))));

/** The dimensions at which to cut: the model's own, or halvings where it names but one. Widest first. */
export function cuts(dimensions) {
  const own = [...dimensions].sort((a, b) => b - a);
  if (own.length > 1) return own;
  return [1, 2, 4, 8].map((part) => Math.floor(own[0] / part)).filter((dimension) => dimension >= 8);
}

/**
 * Classical multidimensional scaling of unit vectors, given their cosines: n points whose distances in the plane are as
 * near to those of the vectors as a plane allows, and the share of the vectors' variance that it shows.
 */
export function plane(cosines) {
  const centred = centre(cosines);
  const total = centred.reduce((sum, row, i) => sum + row[i], 0);
  const axes = [];
  for (let k = 0; k < 2; k++) {
    const [value, axis] = principal(centred);
    axes.push(axis.map((x) => x * Math.sqrt(Math.max(0, value))));
    centred.forEach((row, i) => row.forEach((_, j) => (row[j] -= value * axis[i] * axis[j])));
  }
  const shown = axes.reduce((sum, axis) => sum + dot(axis, axis), 0);
  return { points: cosines.map((_, i) => [axes[0][i], axes[1][i]]), share: total > 1e-9 ? Math.min(1, shown / total) : 1 };
}

/** `points` turned, and mirrored if need be, to lie as near to `target` as they can. */
export function aligned(points, target) {
  const candidates = [points, points.map(([x, y]) => [x, -y])].map((some) => turned(some, target));
  const [plain, mirrored] = candidates.map((some) => distance(some, target));
  return candidates[mirrored < plain ? 1 : 0];
}

/** How far two lists rank alike: 1 the same order, -1 the reverse. Spearman's, with ties sharing their mean rank; 1 where neither ranks. */
export function rankCorrelation(a, b) {
  const [ra, rb] = [a, b].map((values) => unit(deviations(ranks(values))));
  return dot(ra, ra) || dot(rb, rb) ? dot(ra, rb) : 1;
}

/** The values above the diagonal, row by row. */
export const upper = (rows) => rows.flatMap((row, i) => row.slice(i + 1));

const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;

const deviations = (values) => values.map((x) => x - mean(values));

function centre(rows) {
  const means = rows.map(mean);
  const all = mean(means);
  return rows.map((row, i) => row.map((x, j) => x - means[i] - means[j] + all));
}

/** The largest eigenvalue of a positive matrix and its vector, by power iteration from its longest column. */
function principal(matrix) {
  let vector = matrix.reduce((best, row) => (dot(row, row) > dot(best, best) ? row : best));
  vector = unit([...vector]);
  let value = 0;
  for (let step = 0; step < STEPS; step++) {
    const next = matrix.map((row) => dot(row, vector));
    value = Math.sqrt(dot(next, next));
    if (value < 1e-12) return [0, vector.map(() => 0)];
    vector = next.map((x) => x / value);
  }
  return [value, vector];
}

/** Kabsch's rotation in two dimensions, about the origin. */
function turned(points, target) {
  let along = 0;
  let across = 0;
  points.forEach(([x, y], i) => {
    along += x * target[i][0] + y * target[i][1];
    across += x * target[i][1] - y * target[i][0];
  });
  const angle = Math.atan2(across, along);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return points.map(([x, y]) => [c * x - s * y, s * x + c * y]);
}

const distance = (a, b) => a.reduce((sum, [x, y], i) => sum + (x - b[i][0]) ** 2 + (y - b[i][1]) ** 2, 0);

function ranks(values) {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const found = new Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let k = start; k < end; k++) found[order[k]] = (start + end - 1) / 2;
    start = end;
  }
  return found;
}
