/** Where vectors go in the plane. Everything here is deterministic. */

import { dot, unit } from "./vectors.js";

const STEPS = 400;
const ROUNDS = 320;
const EXAGGERATED = 80;

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

/**
 * The points of unit vectors in the plane such that neighbours stay neighbours: t-SNE (van der Maaten & Hinton, 2008),
 * exact, begun at the first two principal components in place of chance. A generator, for 1,000 vectors take seconds: each
 * step yields the points so far.
 *
 * @param {Float32Array[]} vectors
 * @returns {Generator<[number, number][]>}
 */
export function* neighbourhood(vectors) {
  const n = vectors.length;
  const y = start(vectors);
  if (n < 4) {
    yield points(y);
    return;
  }
  const wanted = yield* affinities(vectors, y);
  const [speed, gain, push, heat] = [new Float64Array(2 * n), new Float64Array(2 * n).fill(1), new Float64Array(2 * n), new Float64Array(n * n)];
  const rate = Math.max(10, n / 3);
  for (let round = 0; round < ROUNDS; round++) {
    gradient(wanted, y, heat, push, round < EXAGGERATED ? 4 : 1);
    const momentum = round < EXAGGERATED ? 0.5 : 0.8;
    for (let k = 0; k < 2 * n; k++) {
      gain[k] = Math.max(0.01, Math.sign(push[k]) === Math.sign(speed[k]) ? gain[k] * 0.8 : gain[k] + 0.2);
      speed[k] = momentum * speed[k] - rate * gain[k] * push[k];
      y[k] += speed[k];
    }
    yield points(y);
  }
}

/** The first two principal components of `vectors`, small, as x0, y0, x1, y1 … */
function start(vectors) {
  const n = vectors.length;
  const mean = vectors[0].map((_, k) => vectors.reduce((sum, vector) => sum + vector[k], 0) / n);
  const centred = vectors.map((vector) => vector.map((x, k) => x - mean[k]));
  const y = new Float64Array(2 * n);
  const found = [];
  for (let axis = 0; axis < 2; axis++) {
    let direction = Float64Array.from(mean, (_, k) => Math.sin(k + 1 + axis)); // any that is not at right angles to it
    for (let step = 0; step < 12; step++) {
      const next = new Float64Array(mean.length);
      for (const vector of centred) {
        const along = dot(direction, vector);
        for (let k = 0; k < next.length; k++) next[k] += along * vector[k];
      }
      for (const other of found) {
        const along = dot(next, other);
        other.forEach((x, k) => (next[k] -= along * x));
      }
      direction = unit(next);
    }
    found.push(direction);
    const along = centred.map((vector) => dot(direction, vector));
    const scale = Math.sqrt(along.reduce((sum, x) => sum + x * x, 0) / n) || 1;
    along.forEach((x, i) => (y[2 * i + axis] = (0.01 * x) / scale + 1e-6 * Math.sin(7 * i + axis))); // equal texts part a little
  }
  return y;
}

/** The share of each pair among all, by how near they are: n × n. */
function* affinities(vectors, y) {
  const n = vectors.length;
  const perplexity = Math.log(Math.min(15, (n - 1) / 3));
  const shares = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const far = vectors.map((vector) => 2 - 2 * dot(vectors[i], vector));
    far[i] = Infinity;
    let [low, high, beta] = [0, Infinity, 4];
    let row;
    for (let step = 0; step < 40; step++) {
      row = far.map((d) => Math.exp(-beta * d));
      const sum = row.reduce((a, b) => a + b, 0) || 1e-300;
      row = row.map((p) => p / sum);
      const entropy = row.reduce((h, p) => (p > 1e-12 ? h - p * Math.log(p) : h), 0);
      if (Math.abs(entropy - perplexity) < 1e-4) break;
      if (entropy > perplexity) low = beta;
      else high = beta;
      beta = high === Infinity ? 2 * beta : (low + high) / 2;
    }
    for (let j = 0; j < n; j++) {
      shares[i * n + j] += row[j] / (2 * n);
      shares[j * n + i] += row[j] / (2 * n);
    }
    if (i % 8 === 7) yield points(y);
  }
  return shares;
}

function gradient(wanted, y, heat, push, exaggeration) {
  const n = y.length / 2;
  let total = 1e-12;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const [dx, dy] = [y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]];
      total += 2 * (heat[i * n + j] = 1 / (1 + dx * dx + dy * dy));
    }
  }
  push.fill(0);
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const q = heat[i * n + j];
      const force = 4 * (exaggeration * wanted[i * n + j] - q / total) * q;
      const [fx, fy] = [force * (y[2 * i] - y[2 * j]), force * (y[2 * i + 1] - y[2 * j + 1])];
      push[2 * i] += fx;
      push[2 * i + 1] += fy;
      push[2 * j] -= fx;
      push[2 * j + 1] -= fy;
    }
  }
}

function points(y) {
  return Array.from({ length: y.length / 2 }, (_, i) => [y[2 * i], y[2 * i + 1]]);
}

/** Where a query belongs among `points`: the middle of the few that are most similar to it, by how much they stand out. */
export function amid(points, scores) {
  const best = scores.map((_, i) => i).sort((i, j) => scores[j] - scores[i]).slice(0, 4);
  const least = best.length > 3 ? scores[best[3]] : 0;
  const weights = best.map((i) => Math.max(1e-3, scores[i] - least));
  const total = weights.reduce((a, b) => a + b, 0);
  return [0, 1].map((axis) => best.reduce((sum, i, k) => sum + weights[k] * points[i][axis], 0) / total);
}

/** `places` moved as little as keeps them `least` from one another: for few, whose numbers are to be read. */
export function apart(places, least) {
  const moved = places.map((place) => [...place]);
  for (let round = 0; round < 60; round++) {
    let close = false;
    for (let i = 0; i < moved.length; i++) {
      for (let j = i + 1; j < moved.length; j++) {
        const [dx, dy] = [moved[j][0] - moved[i][0] || 0.1 * (j - i), moved[j][1] - moved[i][1]];
        const far = Math.hypot(dx, dy);
        if (far >= least) continue;
        close = true;
        const push = (least - far) / 2 / far;
        moved[i] = [moved[i][0] - push * dx, moved[i][1] - push * dy];
        moved[j] = [moved[j][0] + push * dx, moved[j][1] + push * dy];
      }
    }
    if (!close) break;
  }
  return moved;
}

const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;

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
