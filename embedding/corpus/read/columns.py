"""Which columns hold the text, the title, the id and what is kept: as named, or found by their names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.record import BINARY, LIST, OBJECT, TEXT, TEXTS, UNTYPED, Kinds, in_words
from embedding.settings import CorpusSettings

TEXT_NAMES = ("text", "abstract", "content", "contents", "body", "document", "passage", "chunk", "sentence", "summary")
TITLE_NAMES = ("title", "paper_title", "headline", "heading", "name")
ID_NAMES = ("id", "_id", "doc_id", "docid", "document_id", "paper_id", "arxiv_id", "passage_id", "key", "uuid", "url")
NOTHING = ("", "none")
EMBEDDABLE = {TEXT, TEXTS, BINARY, UNTYPED}
NESTED = {OBJECT, LIST, TEXTS}
# Names of columns that the output has of its own.
TAKEN = ("id", "row", "chunk", "start", "end", "tokens", "scale", "vector")
SHOWN = 40
MOST_LISTED = 20


@dataclass(frozen=True)
class Columns:
    """The columns that are read. Without `id`, a row's number is its id; without `text`, a line or a file is a text."""

    text: str | None
    title: str | None = None
    id: str | None = None
    integer_ids: bool | None = True
    """Whether all ids are integers; None while that is not known."""
    keep: tuple[tuple[str, str], ...] = ()
    """Columns that are carried into the output, each with the type that it has there."""

    def __str__(self) -> str:
        line = "a text a file" if self.id else "a text a line"
        text = f"text from '{self.text}'" if self.text else line
        title = f"title from '{self.title}'" if self.title else "no title"
        return f"{text}, {title}, id from {repr(self.id) if self.id else 'the row number'}"

    @property
    def named(self) -> list[str]:
        """All that are read."""
        names = [self.text, self.title, self.id, *(name for name, _ in self.keep)]
        return list(dict.fromkeys(name for name in names if name is not None))


def choose(kinds: Mapping[str, Kinds], settings: CorpusSettings) -> Columns:
    """The columns to read of those in `kinds`, which says of each what it holds, as far as its file says.

    The types of kept columns, and of ids, are not known yet. Raises CorpusError where a named column isn't there or
    can't be used, or the text's can't be told.
    """
    text = _text(kinds, settings)
    return Columns(
        text=text,
        title=_title(kinds, settings, text),
        id=_id(kinds, settings),
        keep=tuple((name, "") for name in _kept(kinds, settings)),
    )


def kept_names(settings: CorpusSettings) -> list[str]:
    """The columns that `keep` names."""
    return [name for part in (settings.keep or "").split(",") if (name := part.strip())]


def _text(kinds: Mapping[str, Kinds], settings: CorpusSettings) -> str:
    named = _named(kinds, settings.text_column, "TEXT_COLUMN")
    name = named or _guessed_text(kinds, settings)
    if kinds[name] and not kinds[name] & EMBEDDABLE:
        holds = in_words(kinds[name])
        fields = [each for each in kinds if each.startswith(f"{name}.") and kinds[each] & EMBEDDABLE]
        apart = (
            f"Where each item of its list is a row of its own: jq -c '.{_short(name)}[]'."
            if LIST in kinds[name]
            else ""
        )
        if fields:
            raise CorpusError(
                f"the column '{name}' holds {holds}, not text. Name one of its fields: "
                f"{' or '.join(f'--text-column {_short(field)}' for field in fields[:3])}. {apart}".rstrip()
            )
        raise CorpusError(f"the column '{name}' holds {holds}, not text. {_choice(kinds)}")
    return name


def _guessed_text(kinds: Mapping[str, Kinds], settings: CorpusSettings) -> str:
    columns = [name for name in kinds if not _is_field(name, kinds)]
    known = [name for name in columns if name.lower() in TEXT_NAMES]
    candidates = [name for name in known if not kinds[name] or kinds[name] & EMBEDDABLE] or known
    if len(columns) == 1:
        (only,) = columns
        if kinds[only] == {UNTYPED} and not candidates and not settings.no_header:
            raise CorpusError(
                f"is the first line, '{_short(only)}', the name of the one column, or a text? "
                f"Say so: --text-column '{_short(only)}', or --no-header."
            )
        return only
    if len(candidates) != 1:
        which = f"it may be any of {_listed(candidates)}" if candidates else "none has a name known for it"
        raise CorpusError(f"which column is the text can't be told: {which}. {_choice(kinds)}")
    return candidates[0]


def _title(kinds: Mapping[str, Kinds], settings: CorpusSettings, text: str) -> str | None:
    if settings.title_column is not None and settings.title_column.lower() in NOTHING:
        return None
    if name := _named(kinds, settings.title_column, "TITLE_COLUMN"):
        if kinds[name] & NESTED:
            raise CorpusError(f"TITLE_COLUMN: the column '{name}' holds {in_words(kinds[name])}, which is no title.")
        return name
    able = [name for name, holds in kinds.items() if not holds or holds & {TEXT, UNTYPED}]
    return _first([name for name in able if name != text], TITLE_NAMES)


def _id(kinds: Mapping[str, Kinds], settings: CorpusSettings) -> str | None:
    if settings.id_column is not None and settings.id_column.lower() in NOTHING:
        return None
    if name := _named(kinds, settings.id_column, "ID_COLUMN"):
        if kinds[name] & NESTED:
            raise CorpusError(
                f"ID_COLUMN: the column '{name}' holds {in_words(kinds[name])}, which is no id. "
                "Name a column of text or numbers, or take the row numbers: --id-column none."
            )
        return name
    return _first([name for name, holds in kinds.items() if not holds & NESTED], ID_NAMES)


def _kept(kinds: Mapping[str, Kinds], settings: CorpusSettings) -> list[str]:
    names = kept_names(settings)
    for name in names:
        _named(kinds, name, "KEEP")
        if name.lower() in TAKEN:
            raise CorpusError(f"KEEP: the output has a column '{name}' of its own. Give yours another name.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise CorpusError(f"KEEP: '{twice[0]}' is named twice.")
    return names


def _named(kinds: Mapping[str, Kinds], name: str | None, option: str) -> str | None:
    if name is None:
        return None
    if name not in kinds:
        raise CorpusError(f"{option}: there is no column '{name}'. There are {_listed_columns(kinds)}.")
    return name


def _first(names: Iterable[str], known: Sequence[str]) -> str | None:
    found = {name.lower(): name for name in reversed(list(names))}
    return next((found[name] for name in known if name in found), None)


def _is_field(name: str, kinds: Mapping[str, Kinds]) -> bool:
    """Whether it is the path of a field within another column."""
    parts = name.split(".")
    return any(".".join(parts[:length]) in kinds for length in range(1, len(parts)))


def _choice(kinds: Mapping[str, Kinds]) -> str:
    return f"Name it with --text-column; there are {_listed_columns(kinds)}."


def _listed_columns(kinds: Mapping[str, Kinds]) -> str:
    columns = [name for name in kinds if not _is_field(name, kinds)]
    hint = (
        "" if UNTYPED not in frozenset().union(*kinds.values()) else " (from the first line; --no-header: it has none)"
    )
    return _listed(columns) + hint


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return (", ".join(f"'{_short(name)}'" for name in names[:MOST_LISTED]) or "none") + more


def _short(name: str) -> str:
    """A column's name; where the first line is none of names, that may be a text."""
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
