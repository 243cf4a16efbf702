"""The whole of a job: what is done already is kept, the rest is embedded, and at the end it is all accounted for."""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

from embedding.atomic import clear_unfinished
from embedding.corpus.cut.shards import OVERHEAD, Shard, first_row, plan
from embedding.corpus.errors import CorpusError
from embedding.corpus.files import claimed, unwritable, write_whole
from embedding.corpus.input import Input
from embedding.corpus.job import JOB, Job, Model, begin, elsewhere, make_job
from embedding.corpus.progress import Progress
from embedding.corpus.read.ids import IdCounter
from embedding.corpus.read.rows import REJECTS, Document, Reject, Rejects
from embedding.corpus.write.shard_file import ShardReport, read_note
from embedding.model.prompts import UNTITLED

SHARDS = "shards"
SET_ASIDE = "replaced"
MANIFEST = "manifest.json"
MOST_REJECTS = 0.01
OTHER_NAMES = re.compile("|".join(map(re.escape, (JOB, MANIFEST, REJECTS))))
SHARD_NAME = re.compile(r"\d{6,}-[0-9a-f]{16}\.parquet")

Map = Callable[[Job, Iterator[Shard]], Iterable[ShardReport]]
"""Has `embed_shard` called for every shard, anywhere and in any order, with the folder `SHARDS` of the output.

It takes shards as it has use for them: those it has taken are what is held of the input.
Reports come as shards are done. When the last has come, all files are to be seen in that folder.
"""


@dataclass(frozen=True)
class FileCount:
    """What became of the rows of a file: documents and rejects together are its rows."""

    name: str
    rows: int
    documents: int
    rejects: int


@dataclass(frozen=True)
class Summary:
    """What a job came to. `embedded` are the shards of this run; the rest was there before."""

    rows: int
    documents: int
    chunks: int
    tokens: int
    rejects: int
    shards: int
    embedded: int
    files: tuple[FileCount, ...]
    missing_ids: int
    duplicate_ids: int
    set_aside: int
    """Files of vectors that were there and are of the input no more."""

    @property
    def is_poor(self) -> bool:
        """Whether more rows were rejected than a few in a corpus always are, or all."""
        return self.rejects > MOST_REJECTS * self.rows or self.documents == 0


def embed_corpus(input: Input, output: Path, model: Model, map: Map, *, progress: Progress | None = None) -> Summary:
    """Embed `input` into the folder `output` with `map`, going on where an earlier run of the job was stopped.

    Raises CorpusError, and what `map` raises.
    """
    job = make_job(input.source.name, model, input.survey.columns, input.settings)
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    with claimed(output), Rejects() as rejects, closing(IdCounter()) as ids:
        begin(output, job)
        return _Run(input, output, job, rejects, ids, progress or Progress()).through(map)


class _Run:
    def __init__(
        self, input: Input, output: Path, job: Job, rejects: Rejects, ids: IdCounter, progress: Progress
    ) -> None:
        self._input = input
        self._output = output
        self._folder = output / SHARDS
        self._job = job
        self._rejects = rejects
        self._progress = progress
        self._ids = ids
        self._there: dict[str, ShardReport] = {}
        self._names: list[str] = []
        self._with_rejects = set[int]()
        self._lines: dict[int, int | None] = {}
        self._file_rows = [0] * len(input.source.files)
        self._file_rejects = [0] * len(input.source.files)
        self._file_ends = [0] * len(input.source.files)

    def through(self, map: Map) -> Summary:
        with _writing(self._folder):
            self._folder.mkdir(exist_ok=True)
            clear_unfinished(self._folder, SHARD_NAME)
            clear_unfinished(self._output, OTHER_NAMES)
        self._there = self._shards_there()
        if not self._input.settings.replace:
            self._check_input()
        survey = self._input.survey
        self._progress.characters = survey.characters + OVERHEAD * survey.documents if survey.complete else None
        self._progress.start()
        try:
            for report in map(self._job, self._pending()):
                self._count(report)
        finally:
            self._progress.close()
        return self._finish()

    def _shards_there(self) -> dict[str, ShardReport]:
        """The shards that are there and whole, by name."""
        return {name: note[0] for name in self._shard_names() if (note := read_note(self._folder / name))}

    def _shard_names(self) -> set[str]:
        with _writing(self._folder):
            return {path.name for path in self._folder.iterdir() if SHARD_NAME.fullmatch(path.name)}

    def _planned(self, documents: Iterable[Document]) -> Iterator[Shard]:
        ends: dict[int, int] = {}
        for report in self._there.values():
            ends[report.first_row] = max(report.last_row, ends.get(report.first_row, 0))
        return plan(documents, self._job, ends)

    def _check_input(self) -> None:
        """Raise CorpusError where the shards that are there are all of another input.

        That may have the same name, and the end of the job would set them aside. Most often the first shard is there.
        """
        rows = self._input.rows(self._job.columns) if self._there else ()
        documents = (row for _, row in rows if isinstance(row, Document))
        if self._there and not any(shard.name in self._there for shard in self._planned(documents)):
            raise CorpusError(
                f"no file in {self._output} is of the input as it is now: they are of another input named "
                f"'{self._job.input}', or each has changed. To make them anew: --replace. {elsewhere()}"
            )

    def _pending(self) -> Iterator[Shard]:
        """The shards that are not done, as the map asks for them."""
        for shard in self._planned(self._documents()):
            self._names.append(shard.name)
            self._progress.planned += shard.characters
            self._progress.fraction = self._input.source.fraction
            if report := self._there.get(shard.name):
                self._count(report, earlier=True)
                self._note_lines(shard, report)
                continue
            self._reopen()
            yield shard

    def _note_lines(self, shard: Shard, report: ShardReport) -> None:
        """The lines of a shard's rejects may be others than when it was made, though its rows are the same."""
        note = read_note(self._folder / shard.name) if report.rejects else None
        rejected = {reject.row for reject in note[1]} if note else ()
        self._lines |= {document.row: document.line for document in shard.documents if document.row in rejected}

    def _documents(self) -> Iterator[Document]:
        for index, row in self._input.rows(self._job.columns):
            self._file_rows[index] += 1
            self._file_ends[index] = row.row + 1
            if isinstance(row, Reject):
                self._reject(index, row)
                continue
            if not self._input.survey.complete:
                self._ids.add(row.id)
            yield row

    def _reject(self, index: int, reject: Reject) -> None:
        self._file_rejects[index] += 1
        self._rejects.add(self._input.source.files[index].name, [reject])

    def _count(self, report: ShardReport, *, earlier: bool = False) -> None:
        self._progress.add(report, earlier=earlier)
        if report.rejects:
            self._with_rejects.add(report.first_row)

    def _reopen(self) -> None:
        """A manifest says that all is done: not now."""
        with _writing(self._output):
            (self._output / MANIFEST).unlink(missing_ok=True)

    def _finish(self) -> Summary:
        planned, there = set(self._names), self._shard_names()
        if missing := planned - there:
            raise CorpusError(f"{len(missing)} shards are not in {self._folder}. The same command makes them.")
        self._set_aside(there - planned)
        ends = list(accumulate(self._file_ends, max))
        for name in self._names:
            note = read_note(self._folder / name) if first_row(name) in self._with_rejects else None
            for reject in note[1] if note else ():
                line = self._lines.get(reject.row, reject.line)
                self._reject(bisect_right(ends, reject.row), replace(reject, line=line))
        self._rejects.write(self._output)
        summary = self._summary(len(there - planned))
        write_whole(
            self._output / MANIFEST, json.dumps(_manifest(self._job, summary), indent=2, ensure_ascii=False) + "\n"
        )
        return summary

    def _set_aside(self, names: set[str]) -> None:
        """Move shards that are of the input no more out of the way of those that are; delete them if that was asked."""
        with _writing(self._output):
            if names:
                self._reopen()
            for name in names:
                if self._input.settings.replace:
                    (self._folder / name).unlink()
                else:
                    (self._output / SET_ASIDE).mkdir(exist_ok=True)
                    (self._folder / name).replace(self._output / SET_ASIDE / name)

    def _summary(self, set_aside: int) -> Summary:
        now, before, survey = self._progress.now, self._progress.before, self._input.survey
        counts = zip(self._input.source.files, self._file_rows, self._file_rejects, strict=True)
        summary = Summary(
            rows=sum(self._file_rows),
            documents=now.documents + before.documents,
            chunks=now.chunks + before.chunks,
            tokens=now.tokens + before.tokens,
            rejects=self._rejects.count,
            shards=len(self._names),
            embedded=now.shards,
            files=tuple(FileCount(file.name, rows, rows - rejects, rejects) for file, rows, rejects in counts),
            missing_ids=survey.missing_ids if survey.complete else self._ids.missing,
            duplicate_ids=survey.duplicate_ids if survey.complete else self._ids.duplicates(),
            set_aside=set_aside,
        )
        if summary.rows != summary.documents + summary.rejects or (survey.complete and survey.rows != summary.rows):
            raise CorpusError(
                f"the counts do not add up: {summary.rows:,} rows, {summary.documents:,} documents and "
                f"{summary.rejects:,} rejects, where {survey.rows or 0:,} rows were found. Most likely the input was "
                "changed meanwhile. The same command reads it again."
            )
        return summary


def _manifest(job: Job, summary: Summary) -> dict[str, object]:
    """What a finished output says about itself. The same job makes the same one, so there is no time in it."""
    told = asdict(job)
    model = told.pop("model")
    counts = {key: getattr(summary, key) for key in ("rows", "documents", "chunks", "tokens", "rejects", "shards")}
    return {
        "format": told.pop("format"),
        "input": told.pop("input"),
        "model": {key: model[key] for key in ("name", "revision", "engine", "precision", "max_tokens", "fidelity")},
        "prompt": {"document": model["prompt"], "title": _title_place(job)},
        "vectors": {"format": told.pop("vector_format"), "dimension": model["dimension"]},
        "columns": {name: told["columns"][name] for name in ("text", "title", "id")},
        "kept": dict(job.columns.keep),
        "chunks": {"tokens": told["chunk_tokens"], "overlap": told["chunk_overlap"]},
        "counts": counts,
        "files": [asdict(file) for file in summary.files],
        "ids": {"missing": summary.missing_ids, "duplicate": summary.duplicate_ids},
        "versions": {name: version(name) for name in ("numpy", "onnxruntime", "pyarrow", "tokenizers")},
    }


def _title_place(job: Job) -> str | None:
    if job.columns.title is None:
        return None
    return "in the prompt, for none" if UNTITLED in job.model.prompt else "before the text, as a line"


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from None
