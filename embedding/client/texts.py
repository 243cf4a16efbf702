"""Texts as they go over the wire: JSON, in batches by number and by bytes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from embedding.client.errors import InvalidInput

Task = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The texts of one request, and their titles, each as a JSON string; `start` is the place of the first."""

    task: Task
    start: int
    texts: Sequence[bytes] = field(repr=False)
    titles: Sequence[bytes] | None = field(repr=False)

    def body(self, truncate: bool) -> bytes:
        fields = [b'"query":[%b]' % b",".join(self.texts), b'"task":"%b"' % self.task.encode()]
        if self.titles is not None:
            fields.append(b'"titles":[%b]' % b",".join(self.titles))
        if not truncate:
            fields.append(b'"truncate":false')
        return b"{%b}" % b",".join(fields)

    def halves(self) -> tuple["Batch", "Batch"]:
        half = len(self.texts) // 2
        return self._part(0, half), self._part(half, len(self.texts))

    def _part(self, start: int, end: int) -> "Batch":
        titles = None if self.titles is None else self.titles[start:end]
        return Batch(self.task, self.start + start, self.texts[start:end], titles)

    def name(self, index: int) -> str:
        """What an error calls the text at `index` among all that were given."""
        return "The text" if self.task == "query" else f"texts[{index}]"


def encode(task: Task, texts: Iterable[str], titles: Iterable[str | None] | None) -> Batch:
    """All texts as one batch. Raises InvalidInput."""
    if isinstance(texts, str) or isinstance(titles, str):
        raise InvalidInput("embed_documents takes a list of texts, and a list of titles: put one text into a list.")
    encoded = [_json(text, "The text" if task == "query" else f"texts[{i}]", i) for i, text in enumerate(texts)]
    if titles is None:
        return Batch(task, 0, encoded, None)
    headings = [_json("" if title is None else title, f"titles[{i}]", i) for i, title in enumerate(titles)]
    if len(headings) != len(encoded):
        raise InvalidInput(f"There are {len(headings)} titles for {len(encoded)} texts: give each text one, or None.")
    return Batch(task, 0, encoded, headings)


def _json(text: str, name: str, index: int) -> bytes:
    if not isinstance(text, str):
        raise InvalidInput(f"{name} is of type {type(text).__name__}, and must be a string.", index=index)
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        reason = f"has half of a surrogate pair at character {error.start - 1}"
    raise InvalidInput(f"{name} {reason}: remove it.", index=index)  # not above, where the text would hang on it


def split(whole: Batch, max_texts: int, max_bytes: int) -> Iterator[Batch]:
    """`whole` in batches of up to `max_texts` texts and `max_bytes` bytes of texts and titles, or of one text alone."""
    start = size = 0
    for place, text in enumerate(whole.texts):
        more = len(text) + 1 + (len(whole.titles[place]) + 1 if whole.titles else 0)
        if place > start and (size + more > max_bytes or place - start == max_texts):
            yield whole._part(start, place)
            start, size = place, 0
        size += more
    if start < len(whole.texts):
        yield whole._part(start, len(whole.texts))
