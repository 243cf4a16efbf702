/** Speed: where the time of the last answers went, as the server and this tab measured it. */

import { byId, counted, describe, drawn, element } from "./dom.js";

const MOST = 100;
const [WIDTH, HEIGHT, EDGE] = [600, 150, 26];
/** What an answer's time is made of, in its order. The rest of the server's time is reading, checking and writing. */
const PARTS = [
  ["tokenization", "Tokenization", "cutting the texts into tokens"],
  ["queue", "Queue", "waiting for other requests"],
  ["engine", "Engine", "computing the vectors"],
  ["rest", "Rest of the server", "reading the request, writing the answer"],
  ["way", "Way there and back", "network and browser"],
];

export function startSpeed(session) {
  byId("speed-key").replaceChildren(...PARTS.map(([part, name]) => element("li", {}, element("i", { class: part }), name)));
  const show = () => session.timings.length && draw(session.timings.map(split));
  session.addEventListener("timing", show);
  show();
}

/** The parts of one answer's time: they add up to what the visitor waited. */
function split({ texts, waited, tokenization = 0, queue = 0, engine = 0, total = 0 }) {
  const rest = Math.max(0, total - tokenization - queue - engine);
  return { texts, waited, tokenization, queue, engine, rest, way: Math.max(0, waited - total) };
}

function draw(answers) {
  const last = answers.at(-1);
  byId("speed-last").textContent = `The last answer took ${milliseconds(last.waited)}, for ${counted(last.texts, "text")}:`;
  describe(byId("speed-facts"), PARTS.map(([part, name, meaning]) => [name, milliseconds(last[part]), meaning]));
  const most = niceCeiling(Math.max(...answers.map(({ waited }) => waited)));
  const up = (time) => (time / most) * (HEIGHT - EDGE);
  const step = (WIDTH - 2 * EDGE) / MOST;
  const bars = answers.flatMap((answer, i) => {
    let bottom = HEIGHT - EDGE / 2;
    return PARTS.map(([part]) => {
      const height = up(answer[part]);
      bottom -= height;
      return drawn("rect", { class: part, x: 2 * EDGE + i * step, y: bottom, width: step - 1, height });
    });
  });
  const lines = [0, most / 2, most].flatMap((time) => {
    const y = HEIGHT - EDGE / 2 - up(time);
    return [drawn("line", { x1: 2 * EDGE - 6, x2: WIDTH, y1: y, y2: y }), drawn("text", { x: 2 * EDGE - 10, y: y + 4, "text-anchor": "end" }, String(Number(time.toPrecision(3))))];
  });
  const middle = [...answers].map(({ waited }) => waited).sort((a, b) => a - b)[answers.length >> 1];
  const words = `${counted(answers.length, "answer")}; half of them within ${milliseconds(middle)}, the longest took ${milliseconds(Math.max(...answers.map(({ waited }) => waited)))}.`;
  byId("speed-chart").replaceChildren(
    drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words }, ...lines, ...bars),
    element("p", { class: "hint" }, words));
}

const milliseconds = (time) => `${time < 10 ? time.toFixed(1) : Math.round(time).toLocaleString("en")} ms`;

/** 1, 2 or 5 times a power of ten, from `value` up. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].find((digit) => digit * power >= value) * power;
}
