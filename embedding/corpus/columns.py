"""Which columns hold the text, the title and the id: as named, or told by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedding.corpus.errors import CorpusError
from embedding.settings import CorpusSettings

TEXTS = ("text", "abstract", "content", "contents", "body", "document", "passage", "chunk", "sentence", "summary")
TITLES = ("title", "paper_title", "headline", "heading", "name")
IDS = ("id", "_id", "doc_id", "docid", "document_id", "paper_id", "arxiv_id", "passage_id", "key", "uuid", "url")
NO_TITLE = ("", "none")

STRING = "text"
INTEGER = "integer"
UNKNOWN = ""


@dataclass(frozen=True)
class Columns:
    """The columns that are read. Without `id`, a row's number is its id; without `text`, a line is a text."""

    text: str | None
    title: str | None = None
    id: str | None = None
    integer_ids: bool = True

    def __str__(self) -> str:
        text = f"text from '{self.text}'" if self.text else "a text a line"
        title = f"title from '{self.title}'" if self.title else "no title"
        return f"{text}, {title}, id from {repr(self.id) if self.id else 'the row number'}"

    @property
    def named(self) -> list[str]:
        return [name for name in (self.text, self.title, self.id) if name is not None]


def choose(types: Mapping[str, str], settings: CorpusSettings) -> Columns:
    """The columns to read of those in `types`, which says of each what it holds, as far as its file says.

    Raises CorpusError where a named column isn't there, or the text's can't be told.
    """
    text = _named(types, settings.text_column, "TEXT_COLUMN") or _guessed_text(types)
    if types[text] not in (STRING, UNKNOWN):
        raise CorpusError(f"the column '{text}' holds {types[text]}, not text. {_choice(types, 'text')}")
    if settings.title_column is not None and settings.title_column.lower() in NO_TITLE:
        title = None
    else:
        strings = {name: kind for name, kind in types.items() if kind in (STRING, UNKNOWN) and name != text}
        title = _named(types, settings.title_column, "TITLE_COLUMN") or _first(strings, TITLES)
    key = _named(types, settings.id_column, "ID_COLUMN") or _first(types, IDS)
    return Columns(text, title, key, integer_ids=key is None or types[key] == INTEGER)


def _named(types: Mapping[str, str], name: str | None, option: str) -> str | None:
    if name is None:
        return None
    if name not in types:
        raise CorpusError(f"{option}: there is no column '{name}'. There are {_listed(types)}.")
    return name


def _guessed_text(types: Mapping[str, str]) -> str:
    if len(types) == 1:
        return next(iter(types))
    candidates = [name for name, kind in types.items() if name.lower() in TEXTS and kind in (STRING, UNKNOWN)]
    if len(candidates) != 1:
        which = f"it may be any of {_listed(candidates)}" if candidates else "none has a name known for it"
        raise CorpusError(f"which column is the text can't be told: {which}. {_choice(types, 'text')}")
    return candidates[0]


def _first(types: Mapping[str, str], known: Sequence[str]) -> str | None:
    names = {name.lower(): name for name in reversed(list(types))}
    return next((names[name] for name in known if name in names), None)


def _choice(types: Mapping[str, str], what: str) -> str:
    return f"Name it with --{what}-column; there are {_listed(types)}."


def _listed(names: Mapping[str, str] | Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
