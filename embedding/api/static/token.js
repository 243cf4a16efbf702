/** The token: from its field or from the link that the demo prints, kept for this tab only, and confirmed by the server. */

import { knows } from "./api.js";
import { byId } from "./dom.js";

export function startToken(session) {
  const [form, field, show, forget] = ["token-form", "token", "token-show", "token-forget"].map(byId);
  takeFromLink(session);
  addEventListener("hashchange", () => takeFromLink(session) && (field.value = session.token));
  field.value = session.token;
  // Leaving the field and pressing Enter come together; one of them will do, unless it is another try.
  const take = () => {
    const token = field.value.trim();
    if (token !== session.token || session.refused) session.token = token;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take();
  });
  field.addEventListener("change", take);
  show.addEventListener("click", () => {
    const shown = field.type === "password";
    field.type = shown ? "text" : "password";
    show.setAttribute("aria-pressed", shown);
  });
  forget.addEventListener("click", () => {
    field.value = "";
    session.token = "";
    field.focus();
  });
  byId("to-token").addEventListener("click", () => field.focus());
  session.addEventListener("change", () => update(session, field, forget));
  update(session, field, forget);
}

/** Take the token of an address that ends in #token=…, and take it out of the address and its history. */
function takeFromLink(session) {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found === null) return false;
  history.replaceState(history.state, "", location.pathname + location.search);
  session.token = found.trim();
  return true;
}

let asked = null;

function update(session, field, forget) {
  forget.hidden = !session.token;
  byId("recorded").hidden = !session.recorded;
  field.setAttribute("aria-invalid", session.refused);
  say("token-said", session.verdict ? "The server knows this token." : "");
  say("token-problem", session.refused ? "This server does not know this token. Its owner set it as auth_token." : "");
  if (!session.live || session.verdict !== null || asked === session.token) return;
  const token = (asked = session.token);
  knows(token)
    .then((known) => session.judge(token, known))
    .catch(() => {}) // it can't say now: the views tell why, and their next answer decides
    .finally(() => (asked = null));
}

/** Said only when it changes, for a screen reader reads it out. */
function say(id, words) {
  if (byId(id).textContent !== words) byId(id).textContent = words;
}
