"""The file that lists the rows without a vector: their number, their id and why; never their text."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, Self

import orjson

from embedding.corpus.files import whole
from embedding.corpus.rows import Reject

REJECTS = "rejects.jsonl"
CHUNK = 1 << 20


class Rejects:
    """Rejects as they are met, kept on disk until it is known that they are all."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: BinaryIO = TemporaryFile()  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._kept.close()

    def add(self, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            self._kept.write(orjson.dumps(asdict(reject), option=orjson.OPT_APPEND_NEWLINE))
            self.count += 1

    def write(self, folder: Path) -> None:
        """Write them as a file of `folder`. Raises CorpusError."""
        self._kept.seek(0)
        with whole(folder / REJECTS) as file:
            while chunk := self._kept.read(CHUNK):
                file.write(chunk)
