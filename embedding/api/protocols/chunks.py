"""Long texts: a vector for each window of a text, cut as `embed` cuts them, each read for itself or all together."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from embedding.api.errors import InvalidInput
from embedding.api.protocols.options import Names, Options, Plan
from embedding.api.protocols.texts import Result, check, explained, finished, place
from embedding.model import ServedEngine
from embedding.model.windows import LEAST_ROOM, TooManyWindows, Window
from embedding.serving import Service
from embedding.settings import Settings

MAX_WINDOWS = 1024
"""Windows of one answer: of 768 numbers they take 10 MB as JSON."""
LATE_SHARE = 8
"""Of the model's limit, which a window of a text that is read whole has by default."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut; None is what `embed` does by default."""

    late: bool = False
    """Each text is read whole, and each window's tokens are pooled apart (late chunking, arXiv:2409.04701)."""
    tokens: int | None = None
    """Tokens of a window at most, with its prompt; by default the model's limit, or an eighth of it if late."""
    overlap: int | None = None
    """Tokens that two windows share; by default an eighth of a window."""


async def vectors_of_chunks(
    service: Service, settings: Settings, texts: str | Sequence[str], options: Options, names: Names, chunking: Chunking
) -> tuple[list[list[Window]], Result]:
    """The windows of each text, and the vectors of all of them, one after the other.

    Raises what `vectors_of` raises.
    """
    several = [texts] if isinstance(texts, str) else texts
    asked = check(service, settings, texts, options, names)
    size, overlap = _sizes(chunking, asked, service.loaded)
    prompt, side = asked.prompt.words, asked.prompt.side
    try:
        cut = await service.cut(
            several, side, prompt=prompt, titles=asked.titles, size=size, overlap=overlap, most=MAX_WINDOWS
        )
    except TooManyWindows:
        most = f"makes too many windows, and an answer has at most {MAX_WINDOWS}"
        words = f"{most}: send less at once, or ask for larger windows"
        raise InvalidInput((names.texts,), "too_many_windows", words) from None
    if chunking.late:
        work = service.embed_windows_late(several, cut, side, normalize=not asked.raw)
        return cut, finished(asked, await explained(work, lambda index: place(texts, names, index)))
    ends = list(accumulate(map(len, cut)))
    work = service.embed_windows(list(chain.from_iterable(cut)), side, normalize=not asked.raw)
    return cut, finished(asked, await explained(work, lambda index: place(texts, names, bisect_right(ends, index))))


def _sizes(chunking: Chunking, asked: Plan, engine: ServedEngine) -> tuple[int | None, int]:
    """Tokens of a window and of an overlap. Raises InvalidInput."""
    (bare,) = engine.tokenize([""], asked.prompt.side, asked.prompt.words)
    least, most = bare.total + LEAST_ROOM, engine.info.task_max_tokens[asked.prompt.side]
    size = chunking.tokens or most
    if chunking.late and chunking.tokens is None and most is not None:
        size = max(least, most // LATE_SHARE)
    if size is not None and not least <= size <= (most or size):
        bound = f"{least} or more" if most is None else f"{least} to {most}"
        raise InvalidInput(("chunk_tokens",), "chunks", f"must be {bound}, the prompt included")
    if chunking.overlap is not None and size is not None and chunking.overlap > size // 2:
        raise InvalidInput(("chunk_overlap",), "chunks", f"must be at most {size // 2}, half of a window")
    return size, (size or 0) // 8 if chunking.overlap is None else chunking.overlap
