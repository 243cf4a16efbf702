"""A look at every file before anything is computed: what will be read, and what of it can't be."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from embedding.corpus.errors import CorpusError
from embedding.corpus.read import delimited, tables
from embedding.corpus.read.columns import Columns, choose
from embedding.corpus.read.content import File, check_encoding
from embedding.corpus.read.formats import FORMATS
from embedding.corpus.read.kept import kept_type
from embedding.corpus.read.record import INTEGER, NUMBER, TEXT, UNTYPED, Kinds, add_kinds, in_words, kind, pick
from embedding.corpus.read.rows import Document, Reject, check
from embedding.corpus.read.source import Source
from embedding.settings import CorpusSettings

WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})")
MOST_LISTED = 12
SHOWN = 40


@dataclass
class FileSurvey:
    """What was found in a file. `rows` is None where that takes reading a remote file to its end."""

    name: str
    rows: int | None = 0
    rejects: int = 0


@dataclass
class Survey:
    """What was found in an input. `characters` of text are known where `complete`: the files were read to their ends."""

    columns: Columns
    kinds: Mapping[str, Kinds]
    files: list[FileSurvey]
    layout: str = ""
    """Encoding and delimiter, where the format has them."""
    complete: bool = True
    characters: int = 0
    documents: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_reject: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int | None:
        """The rows of all files, as far as known."""
        counts = [file.rows for file in self.files]
        return None if None in counts else sum(count or 0 for count in counts)


def look(source: Source, settings: CorpusSettings) -> Survey:
    """Look at every file of `source`. Those on this machine are read to their ends, up to the limit of `settings`.

    Raises CorpusError where a file can't be read, or what is doubtful has to be told by an option.
    """
    by_file: list[Mapping[str, Kinds]] = []
    for file in source.files:
        with source.explained(file):
            by_file.append(source.format.kinds(file))
            if not source.local and file.encoding:
                check_encoding(file)
    kinds = _merged(by_file)
    columns = _chosen(source, kinds, settings)
    notes = _missing(source, by_file, columns)
    found = Survey(columns, kinds, [FileSurvey(file.name) for file in source.files], notes=notes)
    if source.local:
        late = _read(source, settings, found)
        if late and (after := _chosen(source, {**kinds, **late}, settings)) != columns:
            found = Survey(after, {**kinds, **late}, found.files, notes=notes)
            _read(source, settings, found)
        if found.rows == 0:
            raise CorpusError(f"there is no row in {source.name}.")
    else:
        found.complete = False
        _by_kinds(source, found)
    found.layout = _layout(source)
    return found


def _merged(by_file: list[Mapping[str, Kinds]]) -> dict[str, Kinds]:
    kinds: dict[str, Kinds] = {}
    for found in by_file:
        for name, holds in found.items():
            kinds[name] = kinds.get(name, frozenset()) | holds
    return kinds


def _chosen(source: Source, kinds: Mapping[str, Kinds], settings: CorpusSettings) -> Columns:
    if source.format.has_columns:
        if not kinds:
            raise CorpusError(f"there is no row in {source.name}.")
        return choose(kinds, settings)
    for option in ("text_column", "title_column", "keep"):
        value = getattr(settings, option)
        if value is not None and value.lower() != "none":
            raise CorpusError(f"{option.upper()}: {source.format.name} files have no columns.")
    by_name = "file" in kinds and (settings.id_column or "").lower() != "none"
    return Columns(text=None, id="file" if by_name else None, integer_ids=False)


def _missing(source: Source, by_file: list[Mapping[str, Kinds]], columns: Columns) -> list[str]:
    """What files lack of the columns, where their head or schema tells; empty parts lack nothing.

    Raises CorpusError where that is the text, the id or a column that is kept.
    """
    notes: list[str] = []
    if source.format in (FORMATS["jsonl"], FORMATS["json"]):
        return notes
    for file, kinds in zip(source.files, by_file, strict=True):
        if not kinds:
            continue
        for name in columns.named:
            if name in kinds:
                continue
            if name == columns.title and name not in (columns.text, columns.id):
                notes.append(f"{file.name} has no column '{name}': its rows have no title")
                continue
            ask = {columns.text: "--text-column", columns.id: "--id-column none"}.get(name, "--keep")
            raise CorpusError(f"{file.name} has no column '{name}', which other files have. See {ask}.")
    return notes


def _read(source: Source, settings: CorpusSettings, found: Survey) -> dict[str, Kinds]:
    """Read all rows, and count; the kinds of columns that were not known before.

    The types of ids and kept columns are what all rows have in common.
    """
    columns = found.columns
    names = [name for name, _ in columns.keep]
    plain = replace(columns, integer_ids=None, keep=())
    ids, kept = set[str](), {name: set[str]() for name in names}
    late: dict[str, set[str]] = {}
    row = 0
    for file, counts in zip(source.files, found.files, strict=True):
        counts.rows = counts.rejects = 0
        file.position = 0
        with source.explained(file):
            for record in source.format.records(file, columns.named):
                if row == settings.limit:
                    break
                checked = check(row, record, plain)
                row += 1
                counts.rows += 1
                if isinstance(checked, Reject):
                    _count_reject(checked, file, counts, found)
                else:
                    found.documents += 1
                    found.characters += len(checked.text) + len(checked.title)
                    ids.add("" if checked.id is None else INTEGER if isinstance(checked.id, int) else TEXT)
                    for name in names:
                        kept[name].add(_kind(pick(record.values, name), found.kinds.get(name)))
                if record.values is not None and not record.values.keys() <= found.kinds.keys():
                    add_kinds(late, record.values)
        if file.encoding:
            check_encoding(file)
    untyped = frozenset({UNTYPED})
    found.columns = replace(
        columns,
        integer_ids=columns.id is None or ids <= {INTEGER, ""},
        keep=tuple(
            (name, kept_type(kept[name] - {""} if source.format.guesses else found.kinds.get(name, untyped)))
            for name in names
        ),
    )
    return {name: frozenset(holds) for name, holds in late.items() if name not in found.kinds}


def _by_kinds(source: Source, found: Survey) -> None:
    """What is known of remote files without reading them: the types that the heads or schemas tell."""
    kinds, columns = found.kinds, found.columns
    found.columns = replace(
        columns,
        integer_ids=columns.id is None or kinds[columns.id] == {INTEGER},
        keep=tuple((name, kept_type(kinds[name])) for name, _ in columns.keep),
    )
    for file, counts in zip(source.files, found.files, strict=True):
        counts.rows = None
        if source.format is FORMATS["parquet"]:
            with source.explained(file):
                counts.rows = tables.parquet_rows(file)


def _kind(value: object, kinds: Kinds | None) -> str:
    """What a value is; of text without a type, what it looks like."""
    if kinds != {UNTYPED} or not isinstance(value, str):
        return kind(value)
    if not value:
        return ""
    if WHOLE_NUMBER.fullmatch(value):
        return INTEGER
    try:
        float(value)
    except ValueError:
        return TEXT
    return NUMBER if value.strip() == value and not value.lstrip("-").startswith("0") or "." in value else TEXT


def _count_reject(reject: Reject, file: File, counts: FileSurvey, found: Survey) -> None:
    counts.rejects += 1
    found.reasons[reject.reason] += 1
    if not found.first_reject:
        found.first_reject = f"{place(file.name, reject)}: {reject.reason}"


def place(file: str, reject: Reject) -> str:
    """Where a row stands, in words."""
    return f"{file}, {f'line {reject.line}' if reject.line else f'row {reject.row}'}"


def _layout(source: Source) -> str:
    """The encodings and dialects of the files, in words."""
    parts = [" and ".join(sorted({file.encoding for file in source.files if file.encoding}))]
    if source.format in (FORMATS["csv"], FORMATS["tsv"]):
        dialects: dict[str, None] = {}
        for file in source.files:
            with source.explained(file):
                dialects[str(delimited.dialect(file))] = None
        parts.append(" and ".join(dialects))
    return ", ".join(part for part in parts if part)


def summary(source: Source, found: Survey) -> str:
    """What will be read, in words: files, columns and their types, rows as far as known, and what is left out."""
    rows = found.rows
    lines = [f"{source.name}: {len(source.files)} {source.format.name} file(s), {found.columns}"]
    counted = "rows not counted" if rows is None else f"{rows:,} rows"
    if found.complete:
        counted += f", {found.characters:,} characters of text"
    lines.append(f"  {counted}{f'; {found.layout}' if found.layout else ''}")
    if source.format.has_columns:
        top = [name for name in found.kinds if not any(name.startswith(f"{other}.") for other in found.kinds)]
        told = [f"{_short(name)} ({in_words(found.kinds[name])})" for name in top[:MOST_LISTED]]
        lines.append(f"  columns: {', '.join(told)}{' …' if len(top) > MOST_LISTED else ''}")
    if found.columns.keep:
        lines.append(f"  kept: {', '.join(f'{name} ({type_})' for name, type_ in found.columns.keep)}")
    lines += [f"  {note}" for note in found.notes[:MOST_LISTED]]
    if rejects := sum(file.rejects for file in found.files):
        lines.append(f"  {rejects:,} of {rows:,} rows can't be embedded; the first is {found.first_reject}")
    if source.skipped:
        more = f" and {len(source.skipped) - MOST_LISTED} more" if len(source.skipped) > MOST_LISTED else ""
        lines.append(f"  not read: {', '.join(source.skipped[:MOST_LISTED])}{more}")
    return "\n".join(lines)


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"


__all__ = ["Document", "FileSurvey", "Survey", "look", "place", "summary"]
