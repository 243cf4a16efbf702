/** The token field: what is put in is kept for this tab only. */

import { byId } from "./dom.js";

export function startToken(session) {
  const [form, field, show, forget] = ["token-form", "token", "token-show", "token-forget"].map(byId);
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
  const update = () => {
    forget.hidden = !session.token;
    field.setAttribute("aria-invalid", session.refused);
    byId("token-problem").textContent = session.refused
      ? "This server does not know this token. Its owner set it as auth_token."
      : "";
  };
  session.addEventListener("change", update);
  update();
}
