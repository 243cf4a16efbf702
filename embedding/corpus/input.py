"""What a job is to embed: the files, what was found in them, and the options that it was asked for or begun with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedding.corpus.job import as_begun, recorded, refuse_another_input
from embedding.corpus.read.columns import Columns
from embedding.corpus.read.rows import Document, Reject
from embedding.corpus.read.source import Source, find_source
from embedding.corpus.read.survey import Survey, Tell, look
from embedding.settings import CorpusSettings


@dataclass(frozen=True)
class Input:
    """An input that was looked at. `settings` are those of an earlier run where this one leaves the choice."""

    source: Source
    survey: Survey
    settings: CorpusSettings

    def rows(self, columns: Columns) -> Iterator[tuple[int, Document | Reject]]:
        """Every row that is wanted, and the number of its file."""
        return self.source.rows(columns, self.settings.limit)


def open_input(
    addresses: str | Sequence[str],
    output: Path,
    settings: CorpusSettings,
    token: str | None = None,
    tell: Tell = lambda _: None,
) -> Input:
    """Look at all that `addresses` name, before anything is computed for `output`; `token` is a Hugging Face token.

    `tell` is given, now and then, what says how much was read, 0 to 1.

    Raises CorpusError where something can't be read, or `output` holds vectors of another input.
    """
    before = recorded(output)
    source = find_source(addresses, token, settings)
    refuse_another_input(output, before, source.name)
    settings = as_begun(settings, before)
    found = look(source, settings, tell)
    if before is not None and not before.columns.integer_ids:
        found.columns = replace(found.columns, integer_ids=False)  # text it was, and integers can be written as such
    return Input(source, found, settings)
