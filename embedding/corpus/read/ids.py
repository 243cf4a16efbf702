"""Counts ids that are missing, and ids that several rows have, in memory that does not grow with them."""

import hashlib
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np

AT_ONCE = 1 << 20
DIGEST_BYTES = 8


class IdCounter:
    """Takes the ids of all rows. Of each it keeps a digest of 64 bits, on disk."""

    def __init__(self) -> None:
        self.missing = 0
        self._count = 0
        self._digests: BinaryIO = TemporaryFile()  # noqa: SIM115  # closed by `close`

    def add(self, key: int | str | None) -> None:
        if key is None:
            self.missing += 1
            return
        self._digests.write(hashlib.blake2b(str(key).encode(), digest_size=DIGEST_BYTES).digest())
        self._count += 1

    def close(self) -> None:
        self._digests.close()

    def duplicates(self) -> int:
        """How many rows have an id that a row before them has."""
        parts, unique = 1 + self._count // AT_ONCE, 0
        for part in range(parts):
            held = [block[block % np.uint64(parts) == part] for block in self._blocks()]
            unique += len(np.unique(np.concatenate(held))) if held else 0
        return self._count - unique

    def _blocks(self) -> Iterator[Any]:
        self._digests.seek(0)
        while block := self._digests.read(DIGEST_BYTES * AT_ONCE):
            yield np.frombuffer(block, np.uint64)
