/** Vectors as files to keep: .npy for NumPy, .csv for all else. */

import { element } from "./dom.js";

/** Hand the browser `content` to save as `name`. */
export function download(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** NumPy's format, version 1.0: a float32 array of shape (rows, dimension). */
export function npy(rows) {
  const shape = `(${rows.length}, ${rows[0].length})`;
  const described = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const header = `${described.padEnd(64 * Math.ceil((described.length + 11) / 64) - 11)}\n`;
  const prefix = Uint8Array.of(0x93, ...[..."NUMPY"].map((c) => c.charCodeAt(0)), 1, 0, header.length & 255, header.length >> 8);
  const numbers = new DataView(new ArrayBuffer(4 * rows.length * rows[0].length));
  rows.forEach((row, i) => row.forEach((x, j) => numbers.setFloat32(4 * (i * row.length + j), x, true)));
  return new Blob([prefix, header, numbers]);
}

/** A line a text: the text, then its numbers. */
export function csv(texts, rows) {
  const head = ["text", ...rows[0].keys()].join(",");
  const lines = texts.map((text, i) => [`"${text.replaceAll('"', '""')}"`, ...rows[i]].join(","));
  return [head, ...lines, ""].join("\r\n");
}
