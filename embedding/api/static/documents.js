/** The documents to search in: the samples at first, then what the visitor types, pastes, drops or opens. */

import { read } from "./api.js";
import { byId, counted } from "./dom.js";
import { draft } from "./drafts.js";
import { Unreadable, documentsIn } from "./files.js";

export const MOST = 1000;
const LARGEST = 20_000_000;

/** Fill the field where the visitor has left nothing in it, and let files in. `report` is told of what fails. */
export function startDocuments(report) {
  const [field, box, file] = ["documents", "documents-box", "file"].map(byId);
  const attempt = (work) => work().catch((error) => report(error, () => attempt(work)));
  const samples = () => attempt(() => loadSamples(field));
  const open = (opened) => opened && attempt(() => takeFile(field, opened));
  byId("load-abstracts").addEventListener("click", samples);
  byId("open-file").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    open(file.files[0]);
    file.value = "";
  });
  field.addEventListener("paste", (event) => attempt(async () => paste(field, event)));
  box.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    box.classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) box.addEventListener(end, () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });
  if (draft("documents") === undefined) samples();
}

/** What is in the field: parted by blank lines, or where there are none, one a line. */
function pieces() {
  const pasted = byId("documents").value.trim();
  const parts = pasted.split(/\n\s*\n/);
  return (parts.length > 1 ? parts : pasted.split("\n")).map((part) => part.trim()).filter(Boolean);
}

export const documents = () => pieces().slice(0, MOST);
export const tooMany = () => pieces().length > MOST;

async function loadSamples(field) {
  const before = field.value;
  const found = await read("page/abstracts.json");
  if (field.value !== before) return; // the visitor has something else in mind by now
  putIn(field, found.map(({ title, text }) => `${title}\n${text}`));
}

async function takeFile(field, file) {
  if (file.size > LARGEST) throw new Unreadable(`${file.name} is larger than ${LARGEST / 1e6} MB. Take a part of it.`);
  const content = await file.text();
  putIn(field, documentsIn(content, file.name) ?? content);
  byId("announced").textContent = `${counted(pieces().length, "document")} read from the file.`;
}

function paste(field, event) {
  const found = documentsIn(event.clipboardData.getData("text"));
  if (!found) return; // plain text goes where the caret is
  event.preventDefault();
  putIn(field, found);
}

/** Replace what is in `field` so that undo brings it back, and leave the focus where it is. */
function putIn(field, content) {
  // More than one document a line is told by blank lines, so that each stays whole.
  const text = Array.isArray(content) ? content.join(content.some((one) => one.includes("\n")) ? "\n\n" : "\n") : content;
  const focused = document.activeElement;
  field.focus({ preventScroll: true });
  field.select();
  if (!document.execCommand("insertText", false, text)) { // old, but the one way that undo knows of
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  field.setSelectionRange(0, 0);
  field.scrollTop = 0;
  if (focused !== field) {
    field.blur();
    focused.focus({ preventScroll: true });
  }
}
