"""The whole of a job: what is done already is kept, the rest is embedded, and at the end it is all accounted for."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from embedding.atomic import clear_unfinished
from embedding.corpus.columns import Columns
from embedding.corpus.errors import CorpusError
from embedding.corpus.files import claimed, unwritable, write_whole
from embedding.corpus.job import JOB, Job, Model, begin, elsewhere, make_job
from embedding.corpus.progress import Progress
from embedding.corpus.rows import REJECTS, Document, Reject, Rejects, check
from embedding.corpus.shard_file import ShardReport, read_note
from embedding.corpus.shards import Shard, plan
from embedding.corpus.source import Source
from embedding.corpus.windows import UNTITLED
from embedding.settings import CorpusSettings

SHARDS = "shards"
MANIFEST = "manifest.json"
OTHER_NAMES = re.compile("|".join(map(re.escape, (JOB, MANIFEST, REJECTS))))
SHARD_NAME = re.compile(r"\d{6,}-[0-9a-f]{16}\.parquet")

Map = Callable[[Job, Iterator[Shard]], Iterable[ShardReport]]
"""Has `embed_shard` called for every shard, anywhere and in any order, with the folder `SHARDS` of the output.

It takes shards as it has use for them: those it has taken are what is held of the input.
Reports come as shards are done. When the last has come, all files are to be seen in that folder.
"""


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


def embed_corpus(
    source: Source,
    output: Path,
    settings: CorpusSettings,
    model: Model,
    map: Map,
    *,
    progress: Progress | None = None,
) -> Summary:
    """Embed `source` into the folder `output` with `map`, going on where an earlier run of the job was stopped.

    Raises CorpusError, and what `map` raises.
    """
    job = make_job(source.name, model, source.columns(settings), settings)
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    with claimed(output), Rejects() as rejects:
        begin(output, job)
        return _Run(source, output, job, rejects, progress or Progress(), settings.replace).through(map)


class _Run:
    def __init__(
        self, source: Source, output: Path, job: Job, rejects: Rejects, progress: Progress, replace: bool
    ) -> None:
        self._source = source
        self._output = output
        self._folder = output / SHARDS
        self._job = job
        self._rejects = rejects
        self._progress = progress
        self._replace = replace
        self._rows = 0
        self._names: list[str] = []
        self._with_rejects: list[int] = []

    def through(self, map: Map) -> Summary:
        with _writing(self._folder):
            self._folder.mkdir(exist_ok=True)
            clear_unfinished(self._folder, SHARD_NAME)
            clear_unfinished(self._output, OTHER_NAMES)
        if not self._replace:
            self._check_input()
        try:
            for report in map(self._job, self._pending()):
                self._count(report)
        finally:
            self._progress.close()
        return self._finish()

    def _check_input(self) -> None:
        """Raise CorpusError where the shards that are there are all of another input.

        That may have the same name, and the end of the job would remove them. Most often the first shard is there.
        """
        there = self._shards_there()
        documents = (row for row in _checked(self._source, self._job.columns) if isinstance(row, Document))
        if there and not any(shard.name in there for shard in plan(documents, self._job)):
            raise CorpusError(
                f"no file in {self._output} is of the input as it is now: they are of another input named "
                f"'{self._job.input}', or each has changed. To make them anew: --replace. {elsewhere()}"
            )

    def _shards_there(self) -> set[str]:
        with _writing(self._folder):
            return {path.name for path in self._folder.iterdir() if SHARD_NAME.fullmatch(path.name)}

    def _pending(self) -> Iterator[Shard]:
        """The shards that are not done, as the map asks for them."""
        for shard in plan(self._documents(), self._job):
            self._names.append(shard.name)
            self._progress.planned += shard.characters
            self._progress.fraction = self._source.fraction
            if note := read_note(self._folder / shard.name):
                self._count(note[0], earlier=True)
                continue
            self._reopen()
            yield shard

    def _documents(self) -> Iterator[Document]:
        for row in _checked(self._source, self._job.columns):
            self._rows += 1
            if isinstance(row, Reject):
                self._rejects.add([row])
            else:
                yield row

    def _count(self, report: ShardReport, *, earlier: bool = False) -> None:
        self._progress.add(report, earlier=earlier)
        if report.rejects:
            self._with_rejects.append(report.index)

    def _reopen(self) -> None:
        """A manifest says that all is done: not now."""
        with _writing(self._output):
            (self._output / MANIFEST).unlink(missing_ok=True)

    def _finish(self) -> Summary:
        planned, there = set(self._names), self._shards_there()
        if missing := planned - there:
            raise CorpusError(f"{len(missing)} shards are not in {self._folder}. The same command makes them.")
        with _writing(self._folder):
            if stray := there - planned:
                self._reopen()
            for name in stray:
                (self._folder / name).unlink()
        for index in sorted(self._with_rejects):
            note = read_note(self._folder / self._names[index])
            self._rejects.add(note[1] if note else ())
        self._rejects.write(self._output)
        now, before = self._progress.now, self._progress.before
        summary = Summary(
            rows=self._rows,
            documents=now.documents + before.documents,
            chunks=now.chunks + before.chunks,
            tokens=now.tokens + before.tokens,
            rejects=self._rejects.count,
            shards=len(planned),
            embedded=now.shards,
        )
        write_whole(
            self._output / MANIFEST, json.dumps(_manifest(self._job, summary), indent=2, ensure_ascii=False) + "\n"
        )
        return summary


def _checked(source: Source, columns: Columns) -> Iterator[Document | Reject]:
    """Every row of the input."""
    return (check(row, fields, columns) for row, fields in enumerate(source.rows(columns)))


def _manifest(job: Job, summary: Summary) -> dict[str, object]:
    """What a finished output says about itself. The same job makes the same one, so there is no time in it."""
    told = asdict(job)
    model = told.pop("model")
    counts = {key: value for key, value in asdict(summary).items() if key != "embedded"}
    return {
        "format": told.pop("format"),
        "input": told.pop("input"),
        "model": {key: model[key] for key in ("name", "revision", "engine", "precision", "max_tokens", "fidelity")},
        "prompt": {"document": model["prompt"], "title": _title_place(job)},
        "vectors": {"format": told.pop("vector_format"), "dimension": model["dimension"]},
        "columns": {name: told["columns"][name] for name in ("text", "title", "id")},
        "chunks": {"tokens": told["chunk_tokens"], "overlap": told["chunk_overlap"]},
        "counts": counts,
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
