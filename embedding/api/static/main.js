/** The page: its parts, started and told of each other. */

import { startCompare } from "./compare.js";
import { startExamples } from "./examples.js";
import { startSearch } from "./search.js";
import { Session } from "./session.js";
import { startState } from "./state.js";
import { startToken } from "./token.js";

const session = new Session();
startToken(session);
const { sentences } = startCompare(session);
const { query, documents } = startSearch(session);
startExamples(session, { query, sentences, documents });
startState(session);
