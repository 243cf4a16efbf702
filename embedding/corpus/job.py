"""What the vectors of an output folder are: the model that makes them, and how. One folder never mixes two kinds."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from embedding.corpus.errors import CorpusError
from embedding.corpus.files import write_whole
from embedding.corpus.read.columns import Columns
from embedding.model import Engine
from embedding.model.tokenizer import task_prompt
from embedding.model.windows import LEAST_ROOM
from embedding.settings import CorpusSettings, Settings, VectorFormat

FORMAT = 2
JOB = "job.json"


@dataclass(frozen=True)
class Model:
    """The model that makes the vectors. `fidelity` is what EngineInfo says of it."""

    name: str
    revision: str
    engine: str
    precision: str
    dimension: int
    max_tokens: int | None
    prompt: str
    """The prompt of a document."""
    prompt_tokens: int
    """TokenizedText of that prompt with no text, special tokens included."""
    fidelity: float | None


@dataclass(frozen=True)
class Job:
    """All that decides a vector and what is written with it, but for the rows; and how large the files get."""

    input: str
    model: Model
    columns: Columns
    chunk_tokens: int | None
    """TokenizedText in a window at most, prompt and special tokens included; None where the model has no limit."""
    chunk_overlap: int
    vector_format: VectorFormat
    shard_chars: int
    format: int = FORMAT

    @property
    def fingerprint(self) -> str:
        """Another job has another.

        The measured fidelity is no part of it, since measuring again may differ a little; nor is the size of the files.
        """
        told = asdict(replace(self, model=replace(self.model, fidelity=None), shard_chars=0))
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """The job that `asdict` made `record` of."""
        columns = {**record["columns"], "keep": tuple((name, type_) for name, type_ in record["columns"]["keep"])}
        return cls(**{**record, "model": Model(**record["model"]), "columns": Columns(**columns)})


def describe(engine: Engine, name: str) -> Model:
    """What `engine` is; `name` is what its user calls the model."""
    info, prompt = engine.info, task_prompt(engine.prompts, "document")
    (bare,) = engine.tokenize([""], "document")
    return Model(
        name=model_name(name),
        revision=info.revision or "",
        engine=info.engine,
        precision=info.precision,
        dimension=info.dimension,
        max_tokens=info.task_max_tokens["document"],
        prompt=prompt,
        prompt_tokens=bare.total,
        fidelity=info.fidelity,
    )


def make_job(name: str, model: Model, columns: Columns, settings: CorpusSettings) -> Job:
    """The job of embedding the input `name`. Raises CorpusError where its windows are too small or too large."""
    size, overlap = settings.chunk_tokens or model.max_tokens, settings.chunk_overlap
    if size is not None:
        least = model.prompt_tokens + LEAST_ROOM
        if size < least:
            raise CorpusError(f"CHUNK_TOKENS: {size} leaves no room for text. Take {least} or more.")
        if model.max_tokens is not None and size > model.max_tokens:
            raise CorpusError(f"CHUNK_TOKENS: the model reads at most {model.max_tokens} tokens, not {size}.")
        if overlap is not None and overlap > size // 2:
            raise CorpusError(f"CHUNK_OVERLAP: {overlap} is more than half of a window of {size} tokens.")
    if overlap is None:
        overlap = (size or 0) // 8
    return Job(name, model, columns, size, overlap, settings.vector_format, settings.shard_chars)


def recorded(output: Path) -> Job | None:
    """The job that `output` holds, begun or done; None where it holds none. Raises CorpusError."""
    try:
        record = json.loads((output / JOB).read_text("utf-8"))
        if record["format"] != FORMAT:
            raise CorpusError(
                f"{output} has format {record['format']}, and this version writes {FORMAT}. {elsewhere()}"
            )
        return Job.of(record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{output / JOB} can't be read ({error}). {elsewhere()}") from None


def as_recorded(settings: Settings, job: Job | None) -> Settings:
    """`settings` with the engine and precision of a job begun before, where they leave the choice."""
    if job is None:
        return settings
    chosen = {"engine": job.model.engine, "precision": job.model.precision}
    return settings.model_copy(update={key: value for key, value in chosen.items() if getattr(settings, key) == "auto"})


def as_begun(settings: CorpusSettings, job: Job | None) -> CorpusSettings:
    """`settings` with what a job begun before was told, where they don't say otherwise."""
    if job is None:
        return settings
    columns = job.columns
    told = {
        "text_column": columns.text,
        "title_column": columns.title or "none",
        "id_column": columns.id or "none",
        "keep": ",".join(name for name, _ in columns.keep) or None,
        "chunk_tokens": job.chunk_tokens,
        "chunk_overlap": job.chunk_overlap,
        "vector_format": job.vector_format,
        "shard_chars": job.shard_chars,
    }
    if columns.text is None:  # files without columns
        told |= {"title_column": None, "id_column": "none" if columns.id is None else None}
    return settings.model_copy(update={name: told[name] for name in told.keys() - settings.model_fields_set})


def refuse_another_model(output: Path, before: Job | None, name: str) -> None:
    """Raise CorpusError where `output` holds a job `before` of a model that is not called `name`."""
    if before is not None and before.model.name != model_name(name):
        raise CorpusError(
            f"{output} holds the vectors of another model: {before.model.name!r}, not {model_name(name)!r}. Name that "
            f"one. {elsewhere()}"
        )


def model_name(name: str) -> str:
    """What a job calls the model `name`: of a path the last part, since its files tell it from others."""
    return Path(name).name if Path(name).is_dir() else name


def refuse_another_input(output: Path, before: Job | None, name: str) -> None:
    """Raise CorpusError where `output` holds a job `before` of an input that is not called `name`."""
    if before is not None and before.input != name:
        raise CorpusError(
            f"{output} holds the vectors of another job: input {before.input!r}, not {name!r}. {elsewhere()}"
        )


def begin(output: Path, job: Job) -> None:
    """Record `job` in `output`, or check that it is the one recorded there. Raises CorpusError where it is another."""
    before = recorded(output)
    if before is None:
        if any(path.name != ".DS_Store" for path in output.iterdir()):
            raise CorpusError(f"{output} is not empty, and holds no vectors of this command. {elsewhere()}")
        write_whole(output / JOB, json.dumps(asdict(job), indent=2, ensure_ascii=False) + "\n")
    elif before.fingerprint != job.fingerprint:
        differences = "; ".join(_differences(asdict(before), asdict(job)))
        raise CorpusError(
            f"{output} holds the vectors of another job: {differences}. Give the same options again, or none of them. "
            f"{elsewhere()}"
        )


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for key, value in now.items():
        if isinstance(value, dict):
            found += _differences(before[key], value)
        elif before[key] != value and key not in ("fidelity", "shard_chars"):
            name = "ids are integers:" if key == "integer_ids" else key.replace("_", " ")
            found.append(f"{name} {before[key]!r}, not {value!r}")
    return found


def elsewhere() -> str:
    """What to do about a folder that can't be gone on with."""
    return "Choose another --output."
