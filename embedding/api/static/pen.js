/** What the map is drawn with. */

import { directionOf } from "./labels.js";

export function disc(pen, x, y, radius, fill, stroke, width) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.lineWidth = width;
  if (stroke) pen.strokeStyle = stroke;
  if (fill) pen.fillStyle = fill;
  if (fill) pen.fill();
  if (stroke) pen.stroke();
}

export function line(pen, from, to, colour) {
  pen.beginPath();
  pen.setLineDash([3, 4]);
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  pen.setLineDash([]);
}

/** Write `text`; `how` is "bold", "outlined" in the stroke that is set, or nothing. */
export function write(pen, text, x, y, align, colour, how) {
  pen.save();
  if (how === "bold") pen.font = pen.font.replace(/^/, "600 ").replace("13px", "12px");
  pen.direction = directionOf(text);
  pen.textAlign = align;
  pen.fillStyle = colour;
  if (how === "outlined") pen.strokeText(text, x, y);
  pen.fillText(text, x, y);
  pen.restore();
}
