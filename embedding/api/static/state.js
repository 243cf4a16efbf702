/** The state of the server: asked for until it is ready, and anew when that is in doubt; and shown. */

import { pause, status } from "./api.js";
import { byId, describe, element } from "./dom.js";

const FIRST_WAIT = 700;
const LONGEST_WAIT = 8000;

/** Ask until the server is ready; ask again when a request went wrong, and when the network comes back. */
export function startState(session) {
  let asking = null;
  const ask = () => (asking ??= follow(session).finally(() => (asking = null)));
  session.addEventListener("doubt", ask);
  window.addEventListener("online", () => ask().then(() => session.changed()));
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
  describe(byId("state-facts"), facts(now));
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

function facts(now) {
  if (!now.model_id) return [];
  const model = [["Model", modelName(now)]];
  if (now.state !== "ready") return model;
  return [
    ...model,
    ["Vector", `${now.dimension} numbers`],
    ["Reads up to", now.max_input_length ? `${now.max_input_length.toLocaleString("en")} tokens` : "any length"],
    ["Engine", `${now.engine} on ${now.device}`],
    ["Precision", now.precision],
    ["Fidelity", now.fidelity === null ? "is the reference" : element("span", {}, now.fidelity.toFixed(4), element("small", {}, " cosine to the reference"))],
  ];
}

function modelName({ model_id: id, hub }) {
  if (!hub) return id;
  return element("a", { href: `https://huggingface.co/${id}`, target: "_blank", rel: "noreferrer" }, id);
}
