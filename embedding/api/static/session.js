/** What the parts of the page share: the server's state, the token, and the vectors already known. */

import { Recorded, Server } from "./sources.js";

const KEY = "embedding-token";
const REMEMBERED = 100;
/** What the recorded example's model can do, in the words of /status. */
const RECORDED = { max_client_batch_size: 128, max_input_length: 256, dimension: 384, matryoshka_dimensions: [384] };

/**
 * Tells of a new state, token or verdict by the event "change"; by "source" where vectors now come from elsewhere, or may
 * come again; of an answer's timing by "timing"; and by "doubt" that the state may not hold any more.
 */
export class Session extends EventTarget {
  status = null;
  /** Where the time of the last answers went, the newest last. */
  timings = [];
  #server = new Server((timing) => this.#timed(timing));
  #recorded = new Recorded();
  #token = kept();
  #verdict = null;
  #sourceBefore = "";

  get token() {
    return this.#token;
  }

  set token(token) {
    this.#token = token;
    this.#verdict = null;
    keep(token);
    this.changed();
  }

  get ready() {
    return this.status?.state === "ready";
  }

  /** Whether the server knows the token, as far as it has said: true, false or null. */
  get verdict() {
    return this.#verdict;
  }

  /** The server said whether it knows `token`, which may have changed meanwhile. */
  judge(token, known) {
    if (token !== this.#token || known === this.#verdict) return;
    this.#verdict = known;
    this.changed();
  }

  get refused() {
    return this.#verdict === false;
  }

  /** Whether the server can be asked for vectors. */
  get live() {
    return this.ready && this.token !== "" && !this.refused;
  }

  /** Whether the recorded example stands in: where there is no token, and until the server has answered with one. */
  get recorded() {
    const early = !this.timings.length && (this.status?.state === "loading" || this.refused);
    return !this.live && (!this.token || early);
  }

  get source() {
    return this.live ? this.#server : this.#recorded;
  }

  /** What the model that `source` is of can do. */
  get model() {
    return this.live ? this.status : RECORDED;
  }

  doubt() {
    this.dispatchEvent(new Event("doubt"));
  }

  changed() {
    this.dispatchEvent(new Event("change"));
    const source = [this.status?.state, this.token, this.refused].join();
    if (source === this.#sourceBefore) return;
    this.#sourceBefore = source;
    this.again();
  }

  /** What failed may do now. */
  again() {
    this.dispatchEvent(new Event("source"));
  }

  #timed(timing) {
    this.timings = [...this.timings, timing].slice(-REMEMBERED);
    this.dispatchEvent(new Event("timing"));
  }
}

// A page in another site's frame may be denied storage: the token then lasts as long as the page.
function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function keep(token) {
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}
