/** What a search by words alone would see: the words that a query and a text share. */

import { element } from "./dom.js";

// Said in any question, so no sign that two texts are about the same.
const COMMON = new Set(
  "a an and any are as at be but by can do does for from had has have how i if in into is it its my no not of on or our out so that the their them they this to up was we were what when where which while who why will with you your".split(" "),
);
const SEGMENTER = Intl.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

/** The words of `text`, each with its place, in scripts with and without spaces. */
function words(text) {
  if (!SEGMENTER) return [...text.matchAll(/[\p{L}\p{N}]+/gu)].map((found) => ({ word: found[0], start: found.index }));
  return [...SEGMENTER.segment(text)].filter(({ isWordLike }) => isWordLike).map(({ segment, index }) => ({ word: segment, start: index }));
}

/** A word without its English endings, so that "stars" finds "star". */
function stem(word) {
  const small = word.toLowerCase();
  if (small.length < 5) return small.replace(/([^s])s$/, "$1");
  return small.replace(/(?:ies|ing|ed|es|s)$/, "").replace(/e$/, "");
}

/** The stems of the words that `query` asks for. */
export function keywords(query) {
  const asked = words(query).map(({ word }) => word).filter((word) => !COMMON.has(word.toLowerCase()));
  return new Set(asked.map(stem));
}

/** `text` in parts, its words of `asked` marked. */
export function marked(text, asked) {
  const parts = [];
  let end = 0;
  for (const { word, start } of words(text)) {
    if (!asked.has(stem(word))) continue;
    parts.push(text.slice(end, start), element("mark", {}, word));
    end = start + word.length;
  }
  return [...parts, text.slice(end)];
}

/**
 * For each of `texts`, how many of the words of `query` are in it, and its rank by them, from 1; null where none is. Rare
 * words count for more, as in any search by words.
 *
 * @returns {{shared: number, rank: number|null}[]}
 */
export function rankedByWords(texts, query) {
  const asked = keywords(query);
  const found = texts.map((text) => new Set(words(text).map(({ word }) => stem(word)).filter((one) => asked.has(one))));
  const weight = new Map([...asked].map((one) => {
    const count = found.filter((stems) => stems.has(one)).length;
    return [one, Math.log(1 + (texts.length - count + 0.5) / (count + 0.5))];
  }));
  const scores = found.map((stems) => [...stems].reduce((sum, one) => sum + weight.get(one), 0));
  return found.map(({ size }, i) => ({ shared: size, rank: size ? 1 + scores.filter((score) => score > scores[i]).length : null }));
}
