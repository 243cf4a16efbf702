"""Cuts a text that the model can't read whole into overlapping windows, on the boundaries of its tokens."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedding.model.engine import Engine, ServedEngine, Task, TokenizedText
from embedding.model.errors import NoTokens, TextTooLong
from embedding.model.prompts import prefix

LEAST_ROOM = 8
"""Tokens that a window must have room for, beside its prompt."""
# Characters tokenized at a time, so that a book takes no more memory than an article.
BLOCK = 200_000

Spans = list[tuple[int, int]]
"""The first token of each, and the first behind it."""


@dataclass(frozen=True, slots=True)
class Window:
    """The characters `start` to `end` of a text, and their tokens under the prompt."""

    start: int
    end: int
    tokens: TokenizedText


class TooManyWindows(Exception):
    """Texts come to more windows than were asked for."""


class Cutter:
    """Makes windows of at most `size` tokens, prompt and special tokens included, with the tokenizer of `engine`.

    Two windows share `overlap` tokens. Without a size no text is cut. Where all texts together come to more than `most`
    windows, `windows` raises TooManyWindows, before those are tokenized.
    """

    def __init__(
        self,
        engine: Engine,
        size: int | None,
        overlap: int,
        task: Task = "document",
        prompt: str | None = None,
        most: float = math.inf,
    ) -> None:
        self._engine = engine
        self._size = size
        self._overlap = overlap
        self._task: Task = task
        self._prompt = prompt
        self._most = most

    def windows(self, titles: Sequence[str], texts: Sequence[str]) -> list[list[Window]]:
        """The windows of each text: one where it can be read whole."""
        alike: dict[str, list[int]] = defaultdict(list)
        for index, title in enumerate(titles):
            alike[prefix(self._engine, self._task, self._prompt, title, self._size)[0]].append(index)
        windows: dict[int, list[Window]] = {}
        room = self._most
        for before, mine in alike.items():
            heads = self._tokenize(before, [texts[index][: BLOCK + 1] for index in mine])
            for index, head in zip(mine, heads, strict=True):
                text = texts[index]
                whole = self._fits(head) and len(text) <= BLOCK
                windows[index] = [Window(0, len(text), head)] if whole else self._cut(before, text, room)
                room -= len(windows[index])
        if room < 0:
            raise TooManyWindows
        return [windows[index] for index in range(len(texts))]

    def _fits(self, tokens: TokenizedText) -> bool:
        return self._size is None or tokens.total <= self._size

    def _tokenize(self, before: str, texts: Sequence[str]) -> list[TokenizedText]:
        return self._engine.tokenize(texts, self._task, before)

    def _cut(self, before: str, text: str, room: float) -> list[Window]:
        if self._size is None:
            (tokens,) = self._tokenize(before, [text])
            return [Window(0, len(text), tokens)]
        budget = self._size - self._tokenize(before, [""])[0].total
        windows: list[Window] = []
        start = 0
        while True:
            end = min(start + BLOCK, len(text))
            pieces = _Pieces(self._engine.token_starts(text[start:end]), end - start)
            place = 0
            while True:
                overlap = min(self._overlap, budget // 2)
                spans = pieces.spans(place, budget, overlap)
                if len(windows) + len(spans) > room:
                    raise TooManyWindows
                if end < len(text) and len(spans) > 1:
                    spans.pop()  # it may end before its tokens do: the next block begins with it
                made, too_long = self._made(before, text, start, spans, pieces)
                windows += made
                if not too_long:
                    break
                budget = max(1, budget - too_long)
                place = spans[len(made)][0]
            if end == len(text):
                return [window for window in windows if not text[window.start : window.end].isspace()]
            start += pieces.places[pieces.next(spans[-1], overlap)]

    def _made(
        self, before: str, text: str, start: int, spans: list[tuple[int, int]], pieces: "_Pieces"
    ) -> tuple[list[Window], int]:
        """The windows of `spans` up to the first that is too long, and how many tokens that is over.

        Cut out of its text, a word may come out in more tokens than it had there.
        """
        places = [(start + int(pieces.places[i]), start + int(pieces.places[j])) for i, j in spans]
        tokens = self._tokenize(before, [text[i:j] for i, j in places])
        windows: list[Window] = []
        for (i, j), (begin, end), read in zip(places, spans, tokens, strict=True):
            if not self._fits(read) and end - begin > 1:
                return windows, max(1, read.total - (self._size or 0))
            windows.append(Window(i, j, read))
        return windows, 0


def read_whole(
    engine: ServedEngine, texts: Sequence[str], cut: Sequence[Sequence[Window]]
) -> list[tuple[TokenizedText, Spans]]:
    """Each text as the model reads it whole, under the prompt of its windows, and the tokens of each window in that.

    Raises TextTooLong for the first that the model can't read at once, NoTokens where nothing is left of a text, and
    Unsupported.
    """
    return [_read_whole(engine, *each) for each in zip(range(len(texts)), texts, cut, strict=True)]


def _read_whole(engine: ServedEngine, index: int, text: str, windows: Sequence[Window]) -> tuple[TokenizedText, Spans]:
    task, prompt = windows[0].tokens.task, windows[0].tokens.prompt
    (whole,) = engine.tokenize([text], task, prompt)
    if whole.truncated:
        raise TextTooLong(index, whole.total, whole.kept, whole.at_least)
    tokens = engine.tokens(text, task, prompt or "")
    own = [(token.start, place) for place, token in enumerate(tokens) if token.start is not None]
    if not own:
        raise NoTokens([index])
    starts, places = [start for start, _ in own], [place for _, place in own]
    spans = []
    for window in windows:
        first, after = bisect_left(starts, window.start), bisect_left(starts, window.end)
        # A window may begin inside of a token that the whole text has there.
        first = min(first, len(own) - 1) if first < after else max(0, first - 1)
        spans.append((places[first], places[max(after - 1, first)] + 1))
    return whole, spans


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
