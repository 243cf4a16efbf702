/** The server, as this page knows it: its state, vectors for texts, and what goes wrong, in words. */

const TRIES = 5;
const STRANGE =
  "What came back is not an answer of this service, or only a part of one. The server may be asleep, or starting.";

/** Something that kept a request from its answer. `kind` is token, busy, offline, stopped, refused or unrecorded. */
export class Problem extends Error {
  constructor(kind, message, wait = 0) {
    super(message);
    this.kind = kind;
    this.wait = wait;
  }
}

/** Where `path` is on this server, whatever the prefix or the query under which the page was opened. */
export const address = (path) => new URL(path, document.baseURI).href;

/** What `GET /status` says. Raises Problem. */
export async function status() {
  const found = await read("status", { cache: "no-store" });
  if (!found.state) throw new Problem("stopped", STRANGE);
  return found;
}

/** The JSON that the server has at `path`. Raises Problem. */
export async function read(path, options = {}) {
  const { answer, body } = await reach(path, options);
  if (!answer.ok) throw new Problem("stopped", `The server answered ${answer.status} to a request for ${path}.`);
  return body;
}

/** Whether the server knows `token`. Raises Problem, where it can't say now. */
export async function knows(token) {
  const { answer, body } = await reach("info", { headers: { "X-API-Key": headerValue(token) } });
  if (!answer.ok && answer.status !== 401) throw problemOf(answer, body);
  return answer.ok;
}

/**
 * The rows of numbers for `texts`, the places of those that were cut to the model's limit, and where the time went, in
 * milliseconds: `waited` here, and the parts that the server told of. Raises Problem.
 *
 * @param {string[]} texts
 * @param {"query"|"document"} task
 * @param {{token: string, signal: AbortSignal}} options
 */
export async function predict(texts, task, { token, signal }) {
  const start = performance.now();
  const { answer, body } = await reach("predict", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-API-Key": headerValue(token) },
    body: JSON.stringify({ query: texts, task }),
    signal,
  });
  if (!answer.ok) throw problemOf(answer, body);
  if (body.length !== texts.length) throw new Problem("stopped", STRANGE);
  return {
    rows: body.map((row) => Float32Array.from(row)),
    cut: new Set(answer.headers.get("X-Truncated-Texts")?.split(",").map(Number)),
    timing: { waited: performance.now() - start, ...parts(answer.headers.get("Server-Timing")) },
  };
}

/** "queue;dur=1.5, total;dur=9" as {queue: 1.5, total: 9}. */
function parts(header) {
  const found = [...(header ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g)];
  return Object.fromEntries(found.map(([, name, milliseconds]) => [name, Number(milliseconds)]));
}

/** A header carries bytes; the server reads a token as UTF-8. */
const headerValue = (token) => String.fromCharCode(...new TextEncoder().encode(token));

/** The answer to a request, and its body parsed; of a refusal, null where that can't be. Raises Problem. */
async function reach(path, options) {
  const answer = await fetch(address(path), options).catch(() => null);
  const body = await answer?.json().catch(() => null);
  options.signal?.throwIfAborted();
  if (!answer) {
    throw new Problem(
      "offline",
      navigator.onLine
        ? "The server can't be reached. It may have stopped, or the network to it is down."
        : "You are offline.",
    );
  }
  // A sleeping Space answers with a page of the hub.
  if (answer.ok && !body) throw new Problem("stopped", STRANGE);
  return { answer, body };
}

/** `call`, again after the wait that a busy server asks for, a few times. */
export async function patiently(call, { signal, waiting }) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof Problem) || !error.wait || attempt === TRIES) throw error;
      waiting?.(error);
      await pause(error.wait * 1000, signal);
    }
  }
}

export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function problemOf(answer, body) {
  const detail = body?.detail;
  const wait = Number(answer.headers.get("Retry-After")) || 0;
  switch (answer.status) {
    case 401:
      return new Problem("token", "The server does not know this token.");
    case 413:
      return new Problem("refused", `That is too much text for one request: its body ${said(detail)}.`);
    case 422:
      return new Problem("refused", `The server can't take this: ${said(detail)}.`);
    case 429:
      return new Problem("busy", "The server is busy with other requests.", wait || 2);
    case 503:
      return new Problem("busy", "The server is not ready to answer.", wait || 2);
    default:
      return new Problem("stopped", `The server answered ${answer.status}${detail ? `: ${said(detail)}` : "."}`);
  }
}

/** FastAPI's detail as a phrase: a string, or a list of which field and why. */
function said(detail) {
  if (!Array.isArray(detail)) return String(detail ?? "it did not say why");
  return detail.map(({ loc, msg }) => [place(loc), msg].filter(Boolean).join(" ")).join("; ");
}

function place(loc) {
  const index = loc.find((part) => typeof part === "number");
  return index === undefined ? loc.slice(1).join(".") : `text ${index + 1}`;
}
