/** One view's requests: the newest wins, old results are marked meanwhile, and what is in the way is said in words. */

import { Problem } from "./api.js";
import { byId, element } from "./dom.js";

const SLOW = 700;
const SECOND = 1000;

export class LatestRequest {
  #controller = new AbortController();

  /**
   * @param {Session} session
   * @param {Element} view whose results are marked while they are old; it has a .notice
   */
  constructor(session, view) {
    this.session = session;
    this.view = view;
    this.notice = view.querySelector(".notice");
  }

  /**
   * Run `work` in place of whatever this view was at.
   *
   * @param {(source: object, options: object) => Promise<string>} work is given where vectors come from and what its `of`
   *   takes, and returns what there is to say
   */
  async take(work) {
    this.#controller.abort();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const { session } = this;
    const obstacle = this.#obstacle();
    this.view.classList.add("stale");
    if (obstacle) this.say(...obstacle);
    if (!session.live && !session.recorded) return this.#rest();
    const waiting = (problem) => {
      if (signal.aborted) return;
      this.say(`${problem.message} Trying again in ${problem.wait} s.`, "waiting");
      session.doubt();
    };
    const options = { token: session.token, limit: session.model.max_client_batch_size, signal, waiting };
    this.#work(signal);
    try {
      const said = await work(session.source, options);
      if (signal.aborted) return;
      this.view.classList.remove("stale");
      if (session.live) session.judge(options.token, true);
      if (!obstacle) this.say(said ?? "");
    } catch (error) {
      if (!signal.aborted) this.report(error, () => this.take(work));
    } finally {
      if (!signal.aborted) this.#rest();
    }
  }

  /** Show that work is under way; after a while, say so, and for how long. */
  #work(signal) {
    this.view.setAttribute("aria-busy", "true");
    const start = performance.now();
    const tell = () => {
      if (signal.aborted || this.view.getAttribute("aria-busy") !== "true") return;
      if (!this.notice.classList.contains("waiting")) {
        const seconds = element("span", { class: "seconds", "aria-hidden": "true" }); // not read out each second
        this.say("Waiting for the server. What is shown is from before.", "working");
        this.notice.append(seconds);
      }
      const seconds = this.notice.querySelector(".seconds");
      if (seconds) seconds.textContent = `${Math.round((performance.now() - start) / SECOND)} s`;
      setTimeout(tell, SECOND);
    };
    setTimeout(tell, SLOW);
  }

  #rest() {
    this.view.setAttribute("aria-busy", "false");
  }

  /** What keeps the server from being asked: words, their kind, and a button; null where nothing does, or no token. */
  #obstacle() {
    const { ready, token, refused, status } = this.session;
    if (!token || !status) return null; // the recorded example says what to do, or the state is still asked for
    if (status?.state === "unreachable") return [`${status.message} This goes on by itself.`, "problem"];
    if (!ready) return ["This starts by itself as soon as the model is ready."];
    if (refused) return ["This server does not know the token.", "problem", toToken("Change the token")];
    return null;
  }

  /** Say what went wrong, and offer `retry`. What is no Problem is a fault of this page, and raised. */
  report(error, retry) {
    if (!(error instanceof Problem)) throw error;
    if (error.kind === "token") {
      this.session.judge(this.session.token, false);
    } else if (error.kind === "unrecorded") {
      if (!this.session.token) this.say(error.message, "", toToken("Put in the token for your own"));
    } else {
      this.say(error.message, "problem", ["Try again", retry]);
      if (error.kind !== "refused") this.session.doubt();
    }
  }

  /** Say `text`, with a button for `action`: its words, and what it does. */
  say(text, kind = "", action = null) {
    this.notice.className = `notice ${kind}`;
    this.notice.replaceChildren(...(text ? [element("span", {}, text)] : []));
    if (!action) return;
    const button = element("button", { type: "button", class: "quiet" }, action[0]);
    button.addEventListener("click", action[1]);
    this.notice.append(" ", button);
  }
}

const toToken = (label) => [label, () => byId("token").focus()];
