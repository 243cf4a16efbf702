/** What the parts of the page share: the server's state, the token, and the vectors already known. */

import { Vectors } from "./api.js";

const KEY = "embedding-token";

/** Tells of a new state, token or network by the event "change", and by "doubt" that the state may not hold any more. */
export class Session extends EventTarget {
  vectors = new Vectors();
  status = null;
  #token = kept();
  #refused = false;

  get token() {
    return this.#token;
  }

  set token(token) {
    this.#token = token;
    this.#refused = false;
    keep(token);
    this.changed();
  }

  get ready() {
    return this.status?.state === "ready";
  }

  /** Whether the server turned the token down. */
  get refused() {
    return this.#refused;
  }

  refuse() {
    this.#refused = true;
    this.changed();
  }

  doubt() {
    this.dispatchEvent(new Event("doubt"));
  }

  changed() {
    this.dispatchEvent(new Event("change"));
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
