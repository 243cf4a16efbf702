/** What the visitor typed and chose, kept for this tab, so that a reload loses none of it. */

const KEY = "embedding-drafts";
const WAIT = 250;

const drafts = read();
let timer;

/** Put back what was kept, and keep what is put in from now on: of all fields that have data-draft. */
export function startDrafts() {
  for (const field of document.querySelectorAll("[data-draft]")) {
    const value = drafts[nameOf(field)];
    if (value === undefined) continue;
    if (field.type === "radio") field.checked = field.value === value;
    else field.value = value;
  }
  document.addEventListener("input", ({ target }) => {
    if ("draft" in target.dataset) keepDraft(nameOf(target), target.value);
  });
  addEventListener("pagehide", write);
}

/** What was kept as `name`, or undefined. */
export const draft = (name) => drafts[name];

/** Keep `value` as `name`, once nothing has been kept for a moment: documents can be megabytes. */
export function keepDraft(name, value) {
  drafts[name] = value;
  clearTimeout(timer);
  timer = setTimeout(write, WAIT);
}

const nameOf = (field) => (field.type === "radio" ? field.name : field.id);

function write() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(drafts));
  } catch {
    // Denied, as in some frames, or full: then a reload loses it.
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}
