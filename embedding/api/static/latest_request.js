/** One view's requests: the newest wins, and what is in its way is said in words. */

import { Problem } from "./api.js";
import { byId, element } from "./dom.js";

export class LatestRequest {
  #controller = new AbortController();

  constructor(session, notice) {
    this.session = session;
    this.notice = notice;
  }

  /** Run `work` in place of whatever this view was at; it gets the options that Vectors.of takes. */
  async take(work) {
    this.#controller.abort();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const { session } = this;
    if (this.#obstructed()) return;
    const waiting = (problem) => {
      if (signal.aborted) return;
      this.#say(`${problem.message} Trying again in ${problem.wait} s.`, "waiting");
      session.doubt();
    };
    try {
      const said = await work({ token: session.token, limit: session.status.max_client_batch_size, signal, waiting });
      if (!signal.aborted) this.#say(said ?? "");
    } catch (error) {
      if (!signal.aborted) this.report(error, () => this.take(work));
    }
  }

  #obstructed() {
    const { ready, token, refused, status } = this.session;
    const toToken = (label) => [label, () => byId("token").focus()];
    if (status?.state === "unreachable") this.#say(`${status.message} This goes on by itself.`, "problem");
    else if (!ready) this.#say("This starts by itself as soon as the model is ready.");
    else if (!token) this.#say("This needs the token of this server.", "", toToken("Put in the token"));
    else if (refused) this.#say("This server does not know the token.", "problem", toToken("Change the token"));
    return !ready || !token || refused;
  }

  /** Say what went wrong, and offer `retry`. What is no Problem is a fault of this page, and raised. */
  report(error, retry) {
    if (!(error instanceof Problem)) throw error;
    if (error.kind === "token") {
      this.session.refuse();
    } else {
      this.#say(error.message, "problem", ["Try again", retry]);
      if (error.kind !== "refused") this.session.doubt();
    }
  }

  #say(text, kind = "", action = null) {
    this.notice.className = `notice ${kind}`;
    this.notice.replaceChildren(text);
    if (!action) return;
    const button = element("button", { type: "button", class: "quiet" }, action[0]);
    button.addEventListener("click", action[1]);
    this.notice.append(" ", button);
  }
}
