"""The vectors of texts that were embedded before, bounded in memory. It keeps hashes of texts, never a text."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedding.model import Task, TokenizedText

KEY_BYTES = 16
# What Python keeps for an entry beside its numbers: key, array, record and its place in the dictionary.
ENTRY_BYTES = 500


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of a text: its vector (dimension,), which nobody may change, and its tokens' numbers."""

    vector: NDArray[np.float32]
    tokens: TokenizedText


class Cache:
    """Vectors by key, of at most `limit` bytes; the least recently used goes first."""

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self._limit = limit
        self._entries: OrderedDict[bytes, Embedded] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Embedded | None:
        """What was put there, if it is still kept."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, vector: NDArray[np.float32], tokens: TokenizedText) -> None:
        """Keep it, if it fits, without the text and its tokens."""
        entry = Embedded(vector, replace(tokens, text="", ids=(), prompt=None))
        if _size(entry) > self._limit:
            return
        if old := self._entries.pop(key, None):
            self.bytes -= _size(old)
        self._entries[key] = entry
        self.bytes += _size(entry)
        while self.bytes > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= _size(oldest)


class Keys:
    """A key for all that changes a text's vector: the text, its task, prompt and title, normalisation, and which
    end of it stays where it is too long.

    What is done to a vector afterwards, as a cut or fewer bits, is no part of it.

    The hash is keyed at random, so that nobody can look for two texts of one key.
    """

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def of(
        self,
        texts: Sequence[str],
        task: Task,
        prompt: str | None,
        titles: Sequence[str] = (),
        normalize: bool = True,
        keep_end: bool = False,
    ) -> list[bytes]:
        """The keys of texts under a task's prompt, or under `prompt`, each with its title where there are titles."""
        before = blake2b(key=self._secret, digest_size=KEY_BYTES)
        words = f"{-1 if prompt is None else len(prompt)} {prompt or ''}"
        before.update(f"{task} {normalize} {keep_end} {words}".encode(errors="surrogatepass"))
        titled = zip(texts, titles or repeat(""), strict=bool(titles))
        return [_digest(before.copy(), text, title) for text, title in titled]


def _digest(hasher: Any, text: str, title: str) -> bytes:
    hasher.update(f"{len(title)} {title}".encode(errors="surrogatepass"))
    hasher.update(text.encode(errors="surrogatepass"))
    digest: bytes = hasher.digest()
    return digest


def _size(entry: Embedded) -> int:
    return entry.vector.nbytes + ENTRY_BYTES
