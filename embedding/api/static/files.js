/** Documents out of what a visitor pastes or drops: CSV, JSON, JSON Lines or plain text. */

const TITLES = ["title", "headline", "name", "subject", "heading"];
const TEXTS = ["text", "abstract", "content", "body", "document", "passage", "sentence", "description", "summary"];
const READABLE = "Save it as CSV, JSON Lines or plain text.";

/** What can't be read as documents; its message says why, for the visitor. */
export class Unreadable extends Error {}

/**
 * The documents in `content`, each a text or a title, a line's end and a text; null where it is plain text.
 *
 * @param {string} content
 * @param {string} name of the file; of what was pasted, none
 * @returns {string[]|null}
 */
export function documentsIn(content, name = "") {
  if (content.slice(0, 4000).includes("\0")) throw new Unreadable(`${name || "This"} is not a text file. ${READABLE}`);
  const kind = name.toLowerCase().match(/\.(\w+)$/)?.[1];
  if (kind === "csv" || kind === "tsv") return fromTable(content, kind === "tsv" ? "\t" : separator(content));
  return fromJson(content) ?? (kind ? null : pastedTable(content));
}

/** A JSON list, or an object or text a line. */
function fromJson(content) {
  const parsed = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const start = content.trimStart()[0];
  if (start !== "{" && start !== "[" && start !== '"') return null;
  const whole = parsed(content);
  const rows = Array.isArray(whole) ? whole : content.split("\n").filter((line) => line.trim()).map(parsed);
  if (rows.some((row) => row === undefined)) return null;
  const documents = rows.map((row) => (typeof row === "string" ? row : documentOf(row ?? {})));
  return documents.filter(Boolean).map(tidy);
}

function documentOf(row) {
  const entries = Object.entries(row).filter(([, value]) => typeof value === "string" && value.trim());
  const longest = entries.reduce((best, entry) => (entry[1].length > (best?.[1].length ?? 0) ? entry : best), null);
  const find = (names) => entries.find(([key]) => names.includes(key.trim().toLowerCase()));
  const [title, text] = [find(TITLES), find(TEXTS) ?? longest];
  if (!text) return title?.[1] ?? "";
  return joined(title?.[1], text[1]);
}

/** What is pasted is a table only where its first line names a column that we know. */
function pastedTable(content) {
  const first = content.slice(0, content.indexOf("\n")).toLowerCase();
  const sign = separator(first);
  const names = first.split(sign).map((cell) => cell.trim().replace(/^"|"$/g, ""));
  return names.length > 1 && names.some((cell) => TEXTS.includes(cell)) ? fromTable(content, sign) : null;
}

function fromTable(content, sign) {
  const [head, ...rows] = cells(content, sign);
  if (!head) throw new Unreadable("There are no rows in it.");
  const names = head.map((cell) => cell.trim().toLowerCase());
  const known = names.some((cell) => TEXTS.includes(cell) || TITLES.includes(cell));
  const body = known ? rows : [head, ...rows];
  const keys = known ? names : names.map((_, i) => String(i));
  return body.map((row) => documentOf(Object.fromEntries(keys.map((key, i) => [key, row[i] ?? ""])))).filter(Boolean).map(tidy);
}

/** The rows and cells of RFC 4180: a quoted cell may hold separators, line ends and doubled quotes. */
function cells(content, sign) {
  const rows = [];
  let [row, cell, quoted] = [[], "", false];
  const endCell = () => {
    row.push(cell);
    cell = "";
  };
  const endRow = () => {
    endCell();
    if (row.some((one) => one.trim())) rows.push(row);
    row = [];
  };
  for (let i = 0; i < content.length; i++) {
    const character = content[i];
    if (quoted && character === '"' && content[i + 1] === '"') cell += content[i++];
    else if (character === '"' && (quoted || !cell)) quoted = !quoted;
    else if (!quoted && character === sign) endCell();
    else if (!quoted && character === "\n") endRow();
    else if (character !== "\r" || quoted) cell += character;
  }
  endRow();
  return rows;
}

const separator = (content) => {
  const first = content.slice(0, 2000).split("\n")[0];
  return [",", ";", "\t"].reduce((best, sign) => (first.split(sign).length > first.split(best).length ? sign : best));
};

const joined = (title, text) => (title && title !== text ? `${title.replace(/\s+/g, " ").trim()}\n${text}` : text);

/** No blank line in it, for that parts documents in the field. */
const tidy = (text) => text.trim().replace(/\r/g, "").replace(/\n\s*\n/g, "\n");
