"""Cuts a text that the model can't read whole into overlapping windows, on the boundaries of its tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedding.corpus.job import Job
from embedding.model import Engine, TokenizedText
from embedding.model.tokenizer import task_prompt

# Characters tokenized at a time, so that a book takes no more memory than an article.
BLOCK = 200_000
UNTITLED = "title: none"


@dataclass(frozen=True, slots=True)
class Window:
    """The characters `start` to `end` of a text, and their tokens under the prompt."""

    start: int
    end: int
    tokens: TokenizedText


class Cutter:
    """Makes windows of a document as `job` wants them, with the tokenizer of `engine`."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine = engine
        self._size = job.chunk_tokens
        self._overlap = job.chunk_overlap
        self._prompt = task_prompt(engine.prompts, "document")

    def windows(self, titles: list[str], texts: list[str]) -> list[list[Window]]:
        """The windows of each text: one where it can be read whole."""
        prefixes = [self._prefix(title) for title in titles]
        heads = [prefix + text[: BLOCK + 1] for prefix, text in zip(prefixes, texts, strict=True)]
        tokens = self._engine.tokenize(heads, "document", prompt="")
        return [
            [Window(0, len(text), whole)] if self._fits(whole) and len(text) <= BLOCK else self._cut(prefix, text)
            for prefix, text, whole in zip(prefixes, texts, tokens, strict=True)
        ]

    def _fits(self, tokens: TokenizedText) -> bool:
        return self._size is None or tokens.total <= self._size

    def _prefix(self, title: str) -> str:
        """What stands before a text: the prompt with the title in its place, or before the text where it has none."""
        if not title:
            return self._prompt
        prefix = titled(self._prompt, title)
        # A title must leave half of the window to the text. Short ones do, and need not be counted.
        if self._size is not None and 2 * len(prefix.encode()) > self._size:
            room = self._size // 2 - self._count(self._prompt)
            if self._count(prefix) > self._size // 2:
                prefix = titled(self._prompt, self._cut_title(title, room)) if room > 0 else self._prompt
        return prefix

    def _cut_title(self, title: str, room: int) -> str:
        starts = self._engine.token_starts(title)
        # Where the title is longer by the prompt alone, as by the line's end behind it, all of it stays.
        return title[: starts[room]].rstrip() if room < len(starts) else title

    def _count(self, text: str) -> int:
        (tokens,) = self._engine.tokenize([text], "document", prompt="")
        return tokens.total

    def _cut(self, prefix: str, text: str) -> list[Window]:
        if self._size is None:
            (tokens,) = self._engine.tokenize([prefix + text], "document", prompt="")
            return [Window(0, len(text), tokens)]
        budget = self._size - self._count(prefix)
        windows: list[Window] = []
        start = 0
        while True:
            end = min(start + BLOCK, len(text))
            pieces = _Pieces(self._engine.token_starts(text[start:end]), end - start)
            place = 0
            while True:
                overlap = min(self._overlap, budget // 2)
                spans = pieces.spans(place, budget, overlap)
                if end < len(text) and len(spans) > 1:
                    spans.pop()  # it may end before its tokens do: the next block begins with it
                made, too_long = self._made(prefix, text, start, spans, pieces)
                windows += made
                if not too_long:
                    break
                budget = max(1, budget - too_long)
                place = spans[len(made)][0]
            if end == len(text):
                return [window for window in windows if not text[window.start : window.end].isspace()]
            start += pieces.places[pieces.next(spans[-1], overlap)]

    def _made(
        self, prefix: str, text: str, start: int, spans: list[tuple[int, int]], pieces: "_Pieces"
    ) -> tuple[list[Window], int]:
        """The windows of `spans` up to the first that is too long, and how many tokens that is over.

        Cut out of its text, a word may come out in more tokens than it had there.
        """
        places = [(start + int(pieces.places[i]), start + int(pieces.places[j])) for i, j in spans]
        tokens = self._engine.tokenize([prefix + text[i:j] for i, j in places], "document", prompt="")
        windows: list[Window] = []
        for (i, j), (begin, end), read in zip(places, spans, tokens, strict=True):
            if not self._fits(read) and end - begin > 1:
                return windows, max(1, read.total - (self._size or 0))
            windows.append(Window(i, j, read))
        return windows, 0


def titled(prompt: str, title: str) -> str:
    """The document prompt with `title` where it says that there is none; else with the title behind it, as a line."""
    if UNTITLED in prompt:
        return prompt.replace(UNTITLED, f"title: {title}", 1)
    return f"{prompt}{title}\n"


class _Pieces:
    """A text as pieces that tokens don't cross: `places` is where each begins and the last ends, in characters."""

    def __init__(self, starts: list[int], length: int) -> None:
        # Several tokens may begin at one character, if it takes several to write it.
        begins, counts = np.unique(np.maximum.accumulate(np.array([0, *starts[1:]])), return_counts=True)
        self.places: NDArray[np.int64] = np.append(begins, length)
        self._before = np.append(0, np.cumsum(counts))

    def spans(self, place: int, budget: int, overlap: int) -> list[tuple[int, int]]:
        """Runs of pieces from `place` to the end, each of at most `budget` tokens, or of one piece."""
        spans: list[tuple[int, int]] = []
        last = len(self.places) - 1
        while True:
            end = int(np.searchsorted(self._before, self._before[place] + budget, side="right")) - 1
            spans.append((place, min(last, max(end, place + 1))))
            if spans[-1][1] == last:
                return spans
            place = self.next(spans[-1], overlap)

    def next(self, span: tuple[int, int], overlap: int) -> int:
        """Where the span after `span` begins."""
        begin, end = span
        return max(begin + 1, int(np.searchsorted(self._before, self._before[end] - overlap, side="left")))
