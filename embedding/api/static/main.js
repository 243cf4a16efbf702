/** The page: its parts, started and told of each other. */

import { byId } from "./dom.js";
import { startCompare } from "./compare.js";
import { Cut } from "./cutter.js";
import { startDrafts } from "./drafts.js";
import { startExamples } from "./examples.js";
import { startNav } from "./nav.js";
import { startSearch } from "./search.js";
import { Session } from "./session.js";
import { startShorten } from "./shorten.js";
import { startSpeed } from "./speed.js";
import { startState } from "./state.js";
import { startToken } from "./token.js";

startDrafts();
const session = new Session();
const cut = new Cut();
startToken(session);
startNav(byId("contents"));
startSpeed(session);
const { sentences } = startCompare(session, cut);
const shorten = startShorten(cut);
const { query, documents } = startSearch(session, shorten);
startExamples(session, { query, sentences, documents });
startState(session);
