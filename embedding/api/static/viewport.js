/** From points in the plane to places on a drawing, and back: fitted, then moved and zoomed as the visitor likes. */

const LEAST = 1;
const MOST = 24;

export class Viewport {
  #fit = { scale: 1, x: 0, y: 0 };
  #zoom = 1;
  #shift = [0, 0];

  /** Fill `size`, a width and a height, less an edge on each side: `points` keep their proportions. */
  fit(points, [width, height], [edgeX, edgeY]) {
    const ranges = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [low, high] = [Math.min, Math.max].map((end) => ranges.map((values) => values.reduce((a, b) => end(a, b))));
    const [spanX, spanY] = low.map((value, axis) => Math.max(1e-9, high[axis] - value));
    const scale = Math.min((width - 2 * edgeX) / spanX, (height - 2 * edgeY) / spanY);
    this.#fit = { scale, x: (low[0] + high[0]) / 2, y: (low[1] + high[1]) / 2 };
    this.size = [width, height];
  }

  place = ([x, y]) => {
    const { scale, x: middleX, y: middleY } = this.#fit;
    return [
      this.size[0] / 2 + this.#shift[0] + this.#zoom * scale * (x - middleX),
      this.size[1] / 2 + this.#shift[1] - this.#zoom * scale * (y - middleY),
    ];
  };

  get zoom() {
    return this.#zoom;
  }

  /** Zoom by `factor`, with the place `at` left where it is. */
  zoomBy(factor, at = this.size.map((length) => length / 2)) {
    const zoom = Math.min(MOST, Math.max(LEAST, this.#zoom * factor));
    const real = zoom / this.#zoom;
    this.#shift = this.#shift.map((shift, axis) => (at[axis] - this.size[axis] / 2) * (1 - real) + shift * real);
    this.#zoom = zoom;
    this.#keepInside();
  }

  pan(x, y) {
    this.#shift = [this.#shift[0] + x, this.#shift[1] + y];
    this.#keepInside();
  }

  reset() {
    this.#zoom = 1;
    this.#shift = [0, 0];
  }

  /** A place inside, moved to it if need be. */
  reveal(place) {
    place.forEach((at, axis) => {
      const edge = Math.min(40, this.size[axis] / 4);
      this.#shift[axis] += Math.max(0, edge - at) - Math.max(0, at - (this.size[axis] - edge));
    });
  }

  #keepInside() {
    this.#shift = this.#shift.map((shift, axis) => {
      const most = (this.size[axis] / 2) * this.#zoom;
      return Math.min(most, Math.max(-most, shift));
    });
  }
}
