"""What a caller asks for beside the texts, under names that all protocols share, checked against the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedding.api.errors import InvalidInput, Location
from embedding.model import EngineInfo, ServedEngine
from embedding.model.prompts import Prompt, find_prompt, task_names
from embedding.model.vectors import CALIBRATED, OutputPrecision, Vectors, cut, ranges_of
from embedding.settings import Settings

MAX_PROMPT = 2000
"""Characters of a prompt or a title: each stands before up to MAX_CLIENT_BATCH texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How texts are to be read, and what is wanted of their vectors; None is the default of the service."""

    task: str | None = None
    """Whatever `embedding.model.prompts.find_prompt` finds."""
    prompt: str | None = None
    """Words before each text, in place of the task's prompt."""
    titles: str | Sequence[str | None] | None = None
    """The title of all texts, or of each. Only a document has one: without a task, it makes a document of a text."""
    dimensions: int | None = None
    normalize: bool | None = None
    """True: vectors of length 1; False: vectors as they are before the model's own normalisation."""
    precisions: Sequence[OutputPrecision] = ("float32",)
    """All in which the numbers will be asked for, so that what can't be is refused before anything is computed."""
    truncate: bool = True
    keep_end: bool = False
    """A text beyond the model's limit is cut at its start."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a protocol calls the fields of `Options`, and the texts, for its errors."""

    texts: str
    task: str = "task"
    prompt: str = "prompt"
    titles: str = "titles"
    dimensions: str = "dimensions"
    normalize: str = "normalize"
    precision: str = "precision"


@dataclass(frozen=True, slots=True)
class Plan:
    """`Options` as this model understands them."""

    prompt: Prompt
    titles: Sequence[str]
    """One for each text, empty where it has none; or none at all."""
    dimension: int
    raw: bool
    """Vectors as they are before the model's own normalisation."""
    unit: bool
    """Vectors of length 1, once they are cut."""
    as_they_come: bool
    """The engine's vectors are what is wanted, to the bit."""
    ranges: Vectors | None
    """The range of each number, (2, dimension), where a precision needs it."""

    def finish(self, vectors: Vectors) -> Vectors:
        """The engine's vectors as they are wanted."""
        return vectors if self.as_they_come else cut(vectors, self.dimension, self.unit)


def plan(options: Options, names: Names, texts: int, engine: ServedEngine, settings: Settings) -> Plan:
    """What `options` mean for that many texts. Raises InvalidInput, naming the field."""
    info = engine.info
    titles = _titles(options, names, texts)
    default = "document" if any(titles) else settings.default_task
    task = default if options.task is None else options.task
    prompt = _prompt(options, names, task, engine.prompts)
    if any(titles) and prompt.side != "document":
        raise InvalidInput((names.titles,), "title_of_a_query", "belongs to a document: set its task to 'document'")
    dimension = _dimension(options, names, info, settings)
    raw = options.normalize is False and info.normalizes
    comes_as_unit = info.normalizes and not raw
    unit = comes_as_unit or bool(options.normalize)
    ranges = None
    if wanted := [precision for precision in options.precisions if precision in CALIBRATED]:
        if raw or not len(engine.calibration):
            why = "vectors that are not normalised" if raw else "this model"
            raise InvalidInput((names.precision,), "no_ranges", f"{wanted[0]} is not known for {why}: it has no ranges")
        ranges = ranges_of(cut(engine.calibration, dimension, unit))
    return Plan(
        prompt=prompt,
        titles=titles if any(titles) else (),
        dimension=dimension,
        raw=raw,
        unit=unit,
        as_they_come=dimension == info.dimension and unit == comes_as_unit,
        ranges=ranges,
    )


def check_defaults(settings: Settings, engine: ServedEngine) -> str | None:
    """What is wrong with the options DEFAULT_TASK and DEFAULT_DIMENSIONS for this model, if anything is."""
    if find_prompt(engine.prompts, settings.default_task) is None:
        return f"DEFAULT_TASK: the model has no such task. It has {', '.join(task_names(engine.prompts))}."
    most = engine.info.dimension
    if settings.default_dimensions and settings.default_dimensions > most:
        return f"DEFAULT_DIMENSIONS: the model's vectors have {most} numbers, and can be cut to fewer."
    return None


def _prompt(options: Options, names: Names, task: str, prompts: Mapping[str, str | None]) -> Prompt:
    found = find_prompt(prompts, task)
    if found is None:
        others = ", ".join(f"'{name}'" for name in task_names(prompts)[2:])
        message = f"must be 'query' or 'document', or another that the model has: {others}"
        raise InvalidInput((names.task,), "task_unknown", message)
    if options.prompt is None:
        return found
    _check_length(options.prompt, (names.prompt,))
    return Prompt(found.side, options.prompt)


def _titles(options: Options, names: Names, texts: int) -> list[str]:
    given = options.titles
    if given is None:
        return []
    if isinstance(given, str):
        _check_length(given, (names.titles,))
        return [given.strip()] * texts
    if len(given) != texts:
        raise InvalidInput(
            (names.titles,), "titles", f"has {len(given)} titles for {texts} texts: give each one, or null"
        )
    for index, title in enumerate(given):
        _check_length(title or "", (names.titles, index))
    return [(title or "").strip() for title in given]


def _check_length(words: str, location: Location) -> None:
    if len(words) > MAX_PROMPT:
        raise InvalidInput(location, "length", f"has {len(words)} characters, and may have {MAX_PROMPT}")


def _dimension(options: Options, names: Names, info: EngineInfo, settings: Settings) -> int:
    wanted = options.dimensions
    if wanted is None:
        return settings.default_dimensions or info.dimension
    if not 1 <= wanted <= info.dimension:
        raise InvalidInput((names.dimensions,), "range", f"must be 1 to {info.dimension}, which the model has")
    return wanted
