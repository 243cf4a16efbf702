"""A look at every file before anything is computed: what will be read, and what of it can't be."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from embedding.corpus.errors import CorpusError
from embedding.corpus.read import delimited, tables
from embedding.corpus.read.columns import Columns, choose
from embedding.corpus.read.content import check_encoding
from embedding.corpus.read.formats import FORMATS
from embedding.corpus.read.ids import IdCounter
from embedding.corpus.read.kept import kept_type, seen_kind
from embedding.corpus.read.record import INTEGER, UNTYPED, Kinds, Record, add_kinds, pick
from embedding.corpus.read.rows import Document, Reject, check
from embedding.corpus.read.source import Source
from embedding.settings import CorpusSettings

UNKNOWN: Kinds = frozenset({UNTYPED})
TELL_EVERY = 256

Tell = Callable[[Callable[[], float]], None]


@dataclass
class FileSurvey:
    """What was found in a file. `rows` is None where that takes reading a remote file to its end."""

    name: str
    rows: int | None = 0
    rejects: int = 0


@dataclass
class Survey:
    """What was found in an input. `complete`: its files were read to their ends, so what is counted here is all."""

    columns: Columns
    kinds: Mapping[str, Kinds]
    files: list[FileSurvey]
    layout: str = ""
    """Encoding and delimiter, where the format has them."""
    complete: bool = True
    documents: int = 0
    characters: int = 0
    last_row: int = -1
    missing_ids: int = 0
    duplicate_ids: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_reject: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int | None:
        """The rows of all files, as far as known."""
        counts = [file.rows for file in self.files]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def rejects(self) -> int:
        return sum(file.rejects for file in self.files)

    @property
    def blank_lines(self) -> int:
        """Those before or between the rows of text files: they are counted, and are no rows."""
        return self.last_row + 1 - (self.rows or 0) if self.complete else 0


def look(source: Source, settings: CorpusSettings, tell: Tell) -> Survey:
    """Look at every file of `source`. Those on this machine are read to their ends, up to the limit of `settings`.

    `tell` is given, now and then, what says how much was read, 0 to 1.

    Raises CorpusError where a file can't be read, or what is doubtful has to be told by an option.
    """
    by_file = _heads(source)
    kinds = _merged(by_file)
    columns = _chosen(source, kinds, settings)
    notes = _missing(source, by_file, columns)
    found = _survey(source, columns, kinds, notes)
    if source.local:
        late = _read(source, settings, found, tell)
        if late and (after := _chosen(source, {**kinds, **late}, settings)) != columns:
            found = _survey(source, after, {**kinds, **late}, notes)
            _read(source, settings, found, tell)
        if found.rows == 0:
            raise CorpusError(f"there is no row in {source.name}.")
    else:
        _take_kinds(source, found)
    found.layout = _layout(source)
    return found


def _heads(source: Source) -> list[Mapping[str, Kinds]]:
    """What the columns of each file hold, as far as its first rows or its schema tell."""
    by_file: list[Mapping[str, Kinds]] = []
    for file in source.files:
        with source.explained(file):
            by_file.append(source.format.kinds(file))
            if file.encoding and not source.local:
                check_encoding(file)
    return by_file


def _survey(source: Source, columns: Columns, kinds: Mapping[str, Kinds], notes: list[str]) -> Survey:
    return Survey(columns, kinds, [FileSurvey(file.name) for file in source.files], notes=notes)


def _merged(by_file: Sequence[Mapping[str, Kinds]]) -> dict[str, Kinds]:
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
    return Columns(text=None, id="file" if by_name else None, integer_ids=not by_name)


def _missing(source: Source, by_file: Sequence[Mapping[str, Kinds]], columns: Columns) -> list[str]:
    """What files lack of the columns, where their head or schema tells; empty parts lack nothing.

    Raises CorpusError where that is the text, the id or a column that is kept.
    """
    notes: list[str] = []
    if source.format in (FORMATS["jsonl"], FORMATS["json"]):
        return notes
    for file, kinds in zip(source.files, by_file, strict=True):
        for name in columns.named if kinds else ():
            if name in kinds:
                continue
            if name == columns.title and name not in (columns.text, columns.id):
                notes.append(f"{file.name} has no column '{name}': its rows have no title")
                continue
            ask = {columns.text: "--text-column", columns.id: "--id-column (or none)"}.get(name, "--keep")
            raise CorpusError(
                f"{file.name} has no column '{name}', which other files have. Leave that file out, or name another "
                f"column: {ask}."
            )
    return notes


def _read(source: Source, settings: CorpusSettings, found: Survey, tell: Tell) -> Mapping[str, Kinds]:
    """Read all rows, and count; the kinds of columns that were not known before.

    The types of ids and kept columns become what all rows have in common.
    """
    names = [name for name, _ in found.columns.keep]
    plain = replace(found.columns, integer_ids=None, keep=())
    ids, of_rejects = set[str](), set[str]()
    kept, late = {name: set[str]() for name in names}, dict[str, set[str]]()
    with closing(IdCounter()) as counter:
        for row, index, record in source.records(found.columns.named, settings.limit):
            found.last_row = row
            if row % TELL_EVERY == 0:
                tell(lambda: source.fraction)
            checked = check(row, record, plain)
            _count(found, index, checked)
            if isinstance(checked, Document):
                counter.add(checked.id)
                ids.add(type(checked.id).__name__)
                for name in names:
                    kept[name].add(seen_kind(pick(record.values, name), found.kinds.get(name, UNKNOWN)))
            else:
                of_rejects.add(type(checked.id).__name__)
            _note_late(record, found.kinds, late)
        found.missing_ids, found.duplicate_ids = counter.missing, counter.duplicates()
    for file in source.files:
        if file.encoding:
            check_encoding(file)
    found.columns = replace(
        found.columns,
        integer_ids="str" not in (ids or of_rejects),
        keep=tuple(
            (name, kept_type(found.kinds.get(name, UNKNOWN) if source.format.typed else kept[name] - {""}))
            for name in names
        ),
    )
    return {name: frozenset(holds) for name, holds in late.items() if name not in found.kinds}


def _count(found: Survey, index: int, checked: Document | Reject) -> None:
    file = found.files[index]
    file.rows = (file.rows or 0) + 1
    if isinstance(checked, Document):
        found.documents += 1
        found.characters += len(checked.text) + len(checked.title)
        return
    file.rejects += 1
    found.reasons[checked.reason] += 1
    if not found.first_reject:
        where = f"line {checked.line}" if checked.line else f"row {checked.row}"
        found.first_reject = f"{file.name}, {where}: {checked.reason}"


def _note_late(record: Record, kinds: Mapping[str, Kinds], late: dict[str, set[str]]) -> None:
    if record.values is not None and not record.values.keys() <= kinds.keys():
        add_kinds(late, record.values)


def _take_kinds(source: Source, found: Survey) -> None:
    """What is known of remote files without reading them: the types that the heads or schemas tell."""
    kinds, columns = found.kinds, found.columns
    found.complete = False
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
