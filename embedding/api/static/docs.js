/** The endpoints of this server, by Swagger UI, in the page's look and with the token that the page has in this tab. */

/** A page in another site's frame may be denied storage. */
function tokenOfTheTab() {
  try {
    return sessionStorage.getItem("embedding-token");
  } catch {
    return null;
  }
}

/** The OpenAPI document of this server, each endpoint with its first sentence where there would be its function's name. */
async function endpoints() {
  const found = await (await fetch(new URL("openapi.json", document.baseURI))).json();
  for (const operation of Object.values(found.paths).flatMap((path) => Object.values(path))) {
    if (operation.description) operation.summary = operation.description.replace(/\s+/g, " ").split(/(?<=\.) /)[0];
  }
  return found;
}

endpoints().then(show, () => {
  document.getElementById("token-note").textContent = "The list of endpoints did not come. Load this page again.";
});

function show(spec) {
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: false, // its links would be inside of buttons, out of reach for some
    tryItOutEnabled: true,
    displayRequestDuration: true,
    defaultModelsExpandDepth: -1, // each endpoint shows its own
    presets: [SwaggerUIBundle.presets.apis],
    onComplete: () => {
      const token = tokenOfTheTab();
      // A header carries bytes; the server reads a token as UTF-8.
      if (token) ui.preauthorizeApiKey("APIKeyHeader", String.fromCharCode(...new TextEncoder().encode(token)));
      document.getElementById("token-note").textContent = token
        ? "Requests carry the token that you put in on the page."
        : "Most endpoints need the token: put it in on the page first, or here with “Authorize”.";
      nameControls(document.getElementById("swagger-ui"));
    },
  });
}

/** Swagger UI leaves some of its controls without a name for screen readers. */
function nameControls(room) {
  const name = () => {
    for (const field of room.querySelectorAll("textarea:not([aria-label])")) field.setAttribute("aria-label", "Request body");
    for (const choice of room.querySelectorAll("select:not([aria-label])")) choice.setAttribute("aria-label", "Kind of content, or example");
    for (const copy of room.querySelectorAll("button:empty:not([aria-label])")) copy.setAttribute("aria-label", "Copy");
    for (const code of room.querySelectorAll("pre:not([tabindex])")) code.tabIndex = 0; // it scrolls
  };
  new MutationObserver(name).observe(room, { childList: true, subtree: true });
  name();
}
