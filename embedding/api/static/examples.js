/** Use it: the requests of this page in three languages, ready to copy. */

import { address } from "./api.js";
import { byId, counted, element } from "./dom.js";

const LANGUAGES = [
  ["curl", "In a terminal", curl],
  ["python", "In Python, with httpx", python],
  ["javascript", "In JavaScript, from a server", javascript],
];

/**
 * @param {Session} session
 * @param {Record<string, () => {query: string|string[], task?: string}>} requests what each choice asks for
 */
export function startExamples(session, requests) {
  const codes = LANGUAGES.map(([name, title]) => snippet(name, title));
  const show = () => {
    const whole = requests[document.querySelector("[name=request]:checked").value]();
    const body = within(session.status?.max_client_batch_size ?? Infinity, whole);
    byId("part-note").textContent =
      body === whole ? "" : `The first ${body.query.length} of ${counted(whole.query.length, "text")}: a request takes no more.`;
    LANGUAGES.forEach(([, , write], i) => (codes[i].textContent = write(address("predict"), body)));
  };
  byId("private-note").hidden = !location.hostname.endsWith(".hf.space");
  document.addEventListener("input", show);
  session.addEventListener("change", show);
  show();
}

/** `body`, with no more texts than the server takes at once. */
const within = (limit, body) =>
  Array.isArray(body.query) && body.query.length > limit ? { ...body, query: body.query.slice(0, limit) } : body;

function snippet(name, title) {
  const code = element("code", { id: `code-${name}` });
  const copy = element("button", { type: "button", class: "quiet" }, "Copy");
  copy.setAttribute("aria-label", `Copy: ${title}`);
  copy.addEventListener("click", () => copied(code, copy));
  byId("snippets").append(
    element("figure", { class: "snippet" },
      element("figcaption", { id: `title-${name}` }, title),
      copy,
      element("pre", { tabindex: "0", role: "region", "aria-labelledby": `title-${name}` }, code)),
  );
  return code;
}

/** Where the browser denies the clipboard, as in some frames, the text is selected for the reader to copy. */
async function copied(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Press Ctrl+C";
  }
  byId("announced").textContent = button.textContent;
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2500);
}

function curl(url, body) {
  const quoted = JSON.stringify(body).replaceAll("'", String.raw`'\''`);
  return `curl ${url} \\
  -H "X-API-Key: $auth_token" -H "Content-Type: application/json" \\
  -d '${quoted}'
`;
}

function python(url, body) {
  return `import os
import httpx

answer = httpx.post(
    ${JSON.stringify(url)},
    headers={"X-API-Key": os.environ["auth_token"]},
    json=${JSON.stringify(body, null, 4).replaceAll("\n", "\n    ")},
    timeout=60,
)
if answer.is_error:
    raise SystemExit(answer.text)
print(answer.json())
`;
}

function javascript(url, body) {
  return `const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "X-API-Key": process.env.auth_token,
    "Content-Type": "application/json",
  },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!answer.ok) throw new Error(await answer.text());
console.log(JSON.stringify(await answer.json()));
`;
}
