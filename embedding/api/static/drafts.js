/** What the visitor typed and chose, kept for this tab, so that a reload loses none of it. */

const KEY = "embedding-drafts";

/** Put back what was kept, and keep what is put in from now on: of all fields that have data-draft. */
export function startDrafts() {
  const kept = read();
  for (const field of document.querySelectorAll("[data-draft]")) {
    const value = kept[nameOf(field)];
    if (value === undefined) continue;
    if (field.type === "radio") field.checked = field.value === value;
    else field.value = value;
  }
  document.addEventListener("input", ({ target }) => {
    if ("draft" in target.dataset) keepDraft(nameOf(target), target.value);
  });
}

/** What was kept as `name`, or undefined. */
export const draft = (name) => read()[name];

/** Keep `value` as `name`. */
export function keepDraft(name, value) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ ...read(), [name]: value }));
  } catch {
    // Denied, as in some frames, or full: then a reload loses it.
  }
}

const nameOf = (field) => (field.type === "radio" ? field.name : field.id);

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}
