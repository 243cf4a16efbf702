/** Points in the plane on a canvas: named, coloured, moved and zoomed, by pointer, touch or keyboard. */

import { byId, element, shortened, still } from "./dom.js";
import { placed } from "./labels.js";
import { apart } from "./layout.js";
import { onRecolour, palette } from "./palette.js";
import { disc, line, write } from "./pen.js";
import { Viewport } from "./viewport.js";

const COLOURS = ["ink", "soft", "line", "card", "accent", "on-accent", "query"];
const NEAR = 16;
const BUDGET = 9; // ms of a frame for laying out
const UNFOLDING = 6; // rounds a frame for few points, for the eye to follow
const NAMED = 70;
const DRAG = 4;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ZOOMS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };

export class PointMap {
  #view = new Viewport();
  #shown = null;
  #frame = 0;
  #drag = null;
  #palette = null;

  /**
   * @param {HTMLElement} room
   * @param {Pointed} pointed
   * @param {{numbered?: boolean, name: string}} options whether points have their number on them; the name of the map
   */
  constructor(room, pointed, { numbered = false, name }) {
    this.room = room;
    this.pointed = pointed;
    this.numbered = numbered;
    this.canvas = element("canvas", { role: "img", "aria-label": name });
    this.tip = element("p", { class: "tip", dir: "auto", "aria-hidden": "true" });
    this.tip.hidden = true;
    this.stage = element("div", { class: "stage", tabindex: "0", role: "group", "aria-label": `${name}. Arrow keys go from point to point, plus and minus zoom, 0 shows all.` }, this.canvas, this.tip);
    room.replaceChildren(this.stage, this.#tools());
    this.#listen();
  }

  /**
   * Show points with `names`. All but these two are optional.
   *
   * @param {{names: string[], steps: Iterator<[number, number][]>, ghosts?: [number, number][], colours?: number[],
   *   query?: {name: string, among: (points: [number, number][]) => [number, number], nearest: number[]},
   *   spoken?: string, keepView?: boolean}} picture
   */
  show(picture) {
    if (!picture.keepView) this.#view.reset();
    const before = this.#shown;
    this.#shown = { points: before?.points, ...picture, settled: false, queryAt: before?.queryAt };
    this.room.dataset.points = picture.names.length;
    this.room.dataset.settled = "false";
    if (picture.spoken) this.canvas.setAttribute("aria-label", picture.spoken);
    this.#advance();
    this.redraw();
  }

  /** Change the colours (from 0 to 1 each) or the query of what is shown. */
  change(picture) {
    if (!this.#shown) return;
    Object.assign(this.#shown, picture);
    this.redraw();
  }

  clear() {
    this.#shown = null;
    this.room.dataset.points = 0;
    this.redraw();
  }

  redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#shown && !this.#shown.settled) this.#advance();
      this.#draw();
    });
  }

  /** Lay out a little more. */
  #advance() {
    const shown = this.#shown;
    const until = performance.now() + BUDGET;
    for (let round = 0; performance.now() < until && (round < UNFOLDING || shown.names.length > NAMED || still()); round++) {
      const { value, done } = shown.steps.next();
      if (done) {
        shown.settled = true;
        this.room.dataset.settled = "true";
        break;
      }
      shown.points = value;
    }
    if (!shown.settled) this.redraw();
  }

  #draw() {
    const size = [this.stage.clientWidth, this.stage.clientHeight];
    const [dense, pen] = [devicePixelRatio || 1, this.canvas.getContext("2d")];
    if (!size[0] || !size[1]) return;
    [this.canvas.width, this.canvas.height] = size.map((length) => Math.round(dense * length));
    pen.scale(dense, dense);
    const shown = this.#shown;
    if (!shown || shown.points?.length !== shown.names.length || (still() && !shown.settled)) {
      this.tip.hidden = true;
      return;
    }
    const { points, ghosts = [], query } = shown;
    const target = query?.among(points);
    this.#view.fit([...points, ...ghosts], size, [Math.min(90, size[0] / 6), 30]);
    const places = points.map(this.#view.place);
    shown.places = this.numbered ? apart(places, 2 * this.#radius + 2) : places;
    shown.colour = this.#palette ??= palette(this.room, COLOURS);
    pen.font = `13px ${getComputedStyle(this.room).fontFamily}`;
    pen.textBaseline = "middle";
    ghosts.forEach((ghost, i) => this.#drawGhost(pen, this.#view.place(ghost), shown.places[i]));
    const queryPlace = target && this.#moved(target);
    if (queryPlace) query.nearest.forEach((i) => line(pen, queryPlace, shown.places[i], shown.colour.query));
    this.#drawPoints(pen);
    if (queryPlace) this.#drawQuery(pen, queryPlace);
    if (shown.settled || points.length <= NAMED) this.#drawNames(pen, size, queryPlace);
    this.#showTip(size);
  }

  /** The query's place, which glides to where it belongs. */
  #moved(target) {
    const shown = this.#shown;
    const from = shown.queryAt ?? target;
    const next = still() || !shown.settled ? target : from.map((x, axis) => x + 0.2 * (target[axis] - x));
    const [now, end] = [next, target].map(this.#view.place);
    const near = Math.hypot(now[0] - end[0], now[1] - end[1]) < 0.5;
    shown.queryAt = near ? target : next;
    if (!near) this.redraw();
    return near ? end : now;
  }

  get #radius() {
    if (this.numbered) return 11;
    return this.#shown.points.length > 250 ? 3.5 : this.#shown.points.length > NAMED ? 5 : 7;
  }

  #drawPoints(pen) {
    const { places, colours, colour } = this.#shown;
    const lit = this.pointed.places;
    // The most similar and what is pointed at lie on top.
    const order = places.map((_, i) => i).sort((i, j) => (colours?.[i] ?? 0) - (colours?.[j] ?? 0));
    for (const i of [...order.filter((i) => !lit.includes(i)), ...lit.filter((i) => i < places.length)]) {
      const [x, y] = places[i];
      const share = lit.includes(i) ? 1 : (colours?.[i] ?? 1);
      const radius = this.#radius + (lit.includes(i) ? 2 : 0);
      disc(pen, x, y, radius, colour.shade(share), colour.card, 1.5);
      if (lit.includes(i)) disc(pen, x, y, radius + 3, null, colour.ink, 2);
      if (!this.numbered) continue;
      write(pen, String(i + 1), x, y + 0.5, "center", share > 0.55 ? colour["on-accent"] : colour.ink, "bold");
    }
  }

  #drawGhost(pen, [x1, y1], [x2, y2]) {
    if (Math.hypot(x2 - x1, y2 - y1) < 2) return;
    line(pen, [x1, y1], [x2, y2], this.#shown.colour.soft);
    disc(pen, x1, y1, 4, null, this.#shown.colour.soft, 1.5);
  }

  #drawQuery(pen, [x, y]) {
    const { colour } = this.#shown;
    pen.save();
    pen.translate(x, y);
    pen.rotate(Math.PI / 4);
    pen.fillStyle = colour.query;
    pen.strokeStyle = colour.card;
    pen.lineWidth = 2;
    pen.fillRect(-7, -7, 14, 14);
    pen.strokeRect(-7, -7, 14, 14);
    pen.restore();
  }

  #drawNames(pen, size, queryPlace) {
    const { names, places, colours, colour, query } = this.#shown;
    const lit = this.pointed.places;
    const radius = this.#radius;
    const rank = (i) => (lit.includes(i) ? 2 : (colours?.[i] ?? 0));
    const box = ([x, y], r) => [x - r, y - r, x + r, y + r];
    const taken = names.length > NAMED ? [] : places.map((place) => box(place, radius));
    if (queryPlace) taken.push(box(queryPlace, 10));
    const order = names.map((_, i) => i).filter((i) => inSight(places[i], size)).sort((i, j) => rank(j) - rank(i));
    const wanted = order.slice(0, NAMED).map((i) => ({ name: names[i], place: places[i], gap: radius + 5 }));
    if (queryPlace) wanted.splice(query.nearest.length, 0, { name: query.name, place: queryPlace, gap: 14 });
    const labels = placed(pen, wanted, taken, size);
    this.room.dataset.labels = labels.length;
    for (const { name, text, x, y, align } of labels) {
      pen.lineWidth = 4;
      pen.lineJoin = "round";
      pen.strokeStyle = colour.card;
      write(pen, text, x, y, align, name === query?.name ? colour.query : colour.ink, "outlined");
    }
  }

  #showTip([width, height]) {
    const { names, places } = this.#shown;
    const [i] = this.pointed.places;
    this.room.dataset.lit = this.pointed.places.join(",");
    if (places[i]) [this.tip.dataset.x, this.tip.dataset.y] = places[i];
    this.tip.hidden = !places[i] || !inSight(places[i], [width, height]);
    if (this.tip.hidden) return;
    this.tip.textContent = shortened(names[i], 120);
    const [x, y] = places[i];
    const left = Math.min(Math.max(8, x - this.tip.offsetWidth / 2), width - this.tip.offsetWidth - 8);
    const above = y - this.tip.offsetHeight - this.#radius - 8;
    this.tip.style.transform = `translate(${left}px, ${above < 4 ? y + this.#radius + 8 : above}px)`;
  }

  #tools() {
    const tool = (sign, name, act) => {
      const button = element("button", { type: "button", class: "quiet", "aria-label": name, title: name }, sign);
      button.addEventListener("click", () => {
        act();
        this.redraw();
      });
      return button;
    };
    return element("div", { class: "map-tools" },
      tool("+", "Zoom in", () => this.#view.zoomBy(1.5)),
      tool("−", "Zoom out", () => this.#view.zoomBy(1 / 1.5)),
      tool("⤢", "Show all", () => this.#view.reset()));
  }

  #listen() {
    const { stage, pointed } = this;
    pointed.addEventListener("change", () => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(stage);
    onRecolour(() => {
      this.#palette = null;
      this.redraw();
    });
    stage.addEventListener("pointerdown", (event) => {
      this.#drag = { x: event.clientX, y: event.clientY, far: false };
      this.#point(event);
    });
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (this.#drag = null));
    stage.addEventListener("pointerleave", () => stage.contains(document.activeElement) || pointed.at());
    stage.addEventListener("focusout", () => pointed.at());
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.#key(event));
  }

  #move(event) {
    if (!this.#shown?.places) return;
    const drag = this.#drag;
    if (!drag) return this.#point(event);
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.far && Math.hypot(x, y) < DRAG) return;
    if (!drag.far) this.stage.setPointerCapture(event.pointerId);
    this.#view.pan(x, y);
    this.#drag = { x: event.clientX, y: event.clientY, far: true };
    this.redraw();
  }

  /** Point at what is nearest to the pointer. */
  #point({ clientX, clientY }) {
    if (!this.#shown?.places) return;
    const { left, top } = this.stage.getBoundingClientRect();
    const [x, y] = [clientX - left, clientY - top];
    const far = this.#shown.places.map(([px, py]) => Math.hypot(px - x, py - y));
    const nearest = far.reduce((best, d, i) => (d < far[best] ? i : best), 0);
    if (far[nearest] <= NEAR) this.pointed.at(nearest);
    else if (this.pointed.places.length) this.pointed.at();
  }

  /** The wheel scrolls the page, unless it is told to zoom. */
  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const { left, top } = this.stage.getBoundingClientRect();
    this.#view.zoomBy(Math.exp(-event.deltaY / 200), [event.clientX - left, event.clientY - top]);
    this.redraw();
  }

  #key(event) {
    if (!this.#shown?.places || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "0") this.#view.reset();
    else if (ZOOMS[event.key]) this.#view.zoomBy(ZOOMS[event.key]);
    else if (MOVES[event.key]) this.#walk(MOVES[event.key]);
    else return;
    event.preventDefault();
    this.redraw();
  }

  /** To the nearest point in a direction; from nowhere, to the first. */
  #walk([right, down]) {
    const { places, names } = this.#shown;
    const [now] = this.pointed.places;
    let next = now ?? 0;
    if (now !== undefined) {
      const cost = places.map(([x, y]) => {
        const [dx, dy] = [x - places[now][0], y - places[now][1]];
        const along = dx * right + dy * down;
        return along > 0.5 ? along + 2 * Math.abs(dx * down + dy * right) : Infinity;
      });
      const best = cost.reduce((found, c, i) => (c < cost[found] ? i : found), now);
      next = cost[best] < Infinity ? best : now;
    }
    this.pointed.at(next);
    this.#view.reveal(places[next]);
    byId("announced").textContent = shortened(names[next], 140);
  }
}

const inSight = ([x, y], [width, height]) => x >= 0 && y >= 0 && x <= width && y <= height;
