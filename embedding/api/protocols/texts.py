"""What all protocols share: texts in, checked; vectors out, for a caller who is still there.

A protocol is a module of its own that reads its body with `read_body`, says what it asks for as `Options` (with the
`Names` of its fields, for errors), gets a `Result` from `embed`, and writes its answer with what `encoding` has. What a
client calls the model is looked up in `models`. So prompts, titles, cuts, precisions and limits are the same in all.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec
from numpy.typing import NDArray
from starlette.requests import Request

from embedding.api.edge.disconnect import while_connected
from embedding.api.edge.log import record_of
from embedding.api.edge.schema import DIMENSION, MAX_TEXTS, TASKS, JsonBody
from embedding.api.errors import InvalidInput, Location
from embedding.api.protocols.options import MAX_PROMPT, Names, Options, Plan, plan
from embedding.model import TextTooLong
from embedding.model.errors import TextError
from embedding.model.vectors import OutputPrecision, Vectors, round_to
from embedding.serving import Embeddings, Service
from embedding.settings import Settings

T = TypeVar("T", bound=msgspec.Struct)
Answer = TypeVar("Answer")

# What may be sent, for the OpenAPI document. It is checked here rather than by msgspec, which would match a pattern
# against a million texts before it counts them.
NOT_BLANK = {"minLength": 1, "pattern": r"[^\s\x1c-\x1f\x85]"}
Text = Annotated[str, msgspec.Meta(extra_json_schema=NOT_BLANK)]
Texts = Annotated[list[Text], msgspec.Meta(min_length=1, extra_json_schema={"maxItems": MAX_TEXTS})]
Words = Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": MAX_PROMPT})]
Task = Annotated[
    str,
    msgspec.Meta(
        description="which prompt of the model: query (what is searched with), document (what is searched in), "
        "classification, clustering, similarity, code, question-answering, fact-checking, the name of any prompt that "
        "the model has, or none; by default DEFAULT_TASK",
        extra_json_schema={"enum": TASKS},
    ),
]
Dimensions = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        description="numbers in a vector, which is cut and normalised again; by default all",
        extra_json_schema={"maximum": DIMENSION},
    ),
]

Truncate = Annotated[
    bool | None, msgspec.Meta(description="cut a text beyond the model's limit, as by default; if false, refuse it")
]

MAX_NAMED = 100  # a header has room for no more


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the texts of a request: `vectors` (texts, dimension), cut and normalised as it asked for."""

    vectors: Vectors
    embeddings: Embeddings
    _ranges: Vectors | None = None

    @property
    def tokens(self) -> int:
        """Tokens that the model read of all texts, with their prompts."""
        return sum(text.kept for text in self.embeddings.tokens)

    def numbers(self, precision: OutputPrecision = "float32") -> NDArray[Any]:
        """The vectors in one of the precisions that were asked for; see `embedding.model.vectors.round_to`."""
        return round_to(self.vectors, precision, self._ranges)


async def read_body(request: Request, body: JsonBody[T]) -> T:
    """The request's body, checked. Raises what `Bodies.read` raises."""
    parsed: T = await request.app.state.bodies.read(request, body)
    return parsed


async def embed(request: Request, texts: str | Sequence[str], options: Options, names: Names) -> Result:
    """The vectors of `texts`, or of the one text, for a caller who is still there; noted for the log.

    Raises what `vectors_of` raises, and CallerLeft.
    """
    state = request.app.state
    result = await while_connected(request, vectors_of(state.service, state.settings, texts, options, names))
    record_of(request).embeddings = result.embeddings
    return result


async def vectors_of(
    service: Service, settings: Settings, texts: str | Sequence[str], options: Options, names: Names
) -> Result:
    """The vectors of `texts`, or of the one text, for a caller by HTTP or by any other way.

    Raises InvalidInput naming the text or the field, and what Service.embed raises of the service's own.
    """
    several = [texts] if isinstance(texts, str) else texts
    asked = check(service, settings, texts, options, names)
    work = service.embed(
        several,
        asked.prompt.side,
        truncate=options.truncate,
        prompt=asked.prompt.words,
        titles=asked.titles,
        normalize=not asked.raw,
        keep_end=options.keep_end,
    )
    return finished(asked, await explained(work, lambda index: place(texts, names, index)))


def finished(asked: Plan, embeddings: Embeddings) -> Result:
    """The embeddings as they are wanted."""
    return Result(asked.finish(embeddings.vectors), embeddings, asked.ranges)


def check(service: Service, settings: Settings, texts: str | Sequence[str], options: Options, names: Names) -> Plan:
    """What the options mean. Raises InvalidInput for them, and for texts that are too many or blank; and NotReady."""
    several = [texts] if isinstance(texts, str) else texts
    check_texts(several, lambda index: place(texts, names, index), settings.max_client_batch)
    return plan(options, names, len(several), service.loaded, settings)


def place(texts: str | Sequence[str], names: Names, index: int) -> Location:
    """Where the text at `index` came in."""
    return (names.texts,) if isinstance(texts, str) else (names.texts, index)


async def explained(work: Coroutine[Any, Any, Answer], named: Callable[[int], Location]) -> Answer:
    """What `work` of the service gives. Raises InvalidInput for a text's error."""
    try:
        return await work
    except TextTooLong as error:
        raise InvalidInput(named(error.index), "text_too_long", str(error)) from None
    except TextError as error:
        raise InvalidInput(named(error.index), "text_error", str(error)) from None


def check_texts(texts: Sequence[str], named: Callable[[int], Location], limit: int) -> None:
    """Raise InvalidInput where there are more than `limit`, or one is blank."""
    check_count(len(texts), named(0)[:1], limit)
    for index, text in enumerate(texts):
        if not text.strip():
            raise InvalidInput(named(index), "text_blank", "must not be blank")


def check_count(texts: int, location: Location, limit: int) -> None:
    """Raise InvalidInput where there are more than `limit`."""
    if texts > limit:
        message = f"has {texts} texts, and a request takes at most {limit} (MAX_CLIENT_BATCH)"
        raise InvalidInput(location, "too_many_texts", message)


def answer_headers(request: Request, result: Result) -> Mapping[str, str]:
    """What an answer of vectors says beside them: the model, and which texts were cut."""
    return {**model_headers(request), **truncation_headers(result.embeddings)}


def model_headers(request: Request) -> Mapping[str, str]:
    """The model that made the vectors, as /info names it, percent-encoded: no index should be fed by two."""
    info = request.app.state.service.info
    return {"X-Model-Id": quote(info.model, safe=""), "X-Model-Revision": quote(info.revision or "", safe="")}


def truncation_headers(result: Embeddings) -> Mapping[str, str]:
    """How many texts were cut and which; none where none was."""
    if not result.truncated:
        return {}
    places = [str(place) for place, tokens in enumerate(result.tokens) if tokens.truncated]
    return {"X-Truncated": str(len(places)), "X-Truncated-Texts": ",".join(places[:MAX_NAMED])}
