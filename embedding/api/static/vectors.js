/** Vectors: compared, and shortened. */

export function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return length ? vector.map((x) => x / length) : vector;
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** The first `dimension` numbers of `vector`, at length one again. */
export const cut = (vector, dimension) => (dimension === vector.length ? vector : unit(vector.slice(0, dimension)));

/** In what format a number is stored, and the bits that it takes. */
export const BITS = { float32: 32, int8: 8, binary: 1 };

/** `vector` cut to `dimension` numbers and stored as `format`, read back at length one: a dot product is a cosine. */
export function shorten(vector, dimension, format) {
  const kept = cut(vector, dimension);
  if (format === "binary") return kept.map((x) => (x > 0 ? 1 : -1) / Math.sqrt(dimension));
  if (format === "float32") return kept;
  const scale = 127 / kept.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-12);
  return unit(kept.map((x) => Math.round(x * scale)));
}

/** The bytes of a vector of `dimension` numbers in `format`. */
export const bytes = (dimension, format) => Math.ceil((dimension * BITS[format]) / 8);

/** The cosine of every pair of unit vectors: n rows of n. */
export const similarities = (vectors) => vectors.map((a) => vectors.map((b) => Math.min(1, Math.max(-1, dot(a, b)))));

/** The values above the diagonal, row by row. */
export const upper = (rows) => rows.flatMap((row, i) => row.slice(i + 1));

/** The dimensions at which to cut: the model's own, or halvings where it names but one. Widest first. */
export function cuts(dimensions) {
  const own = [...dimensions].sort((a, b) => b - a);
  if (own.length > 1) return own;
  return [1, 2, 4, 8].map((part) => Math.floor(own[0] / part)).filter((dimension) => dimension >= 8);
}
