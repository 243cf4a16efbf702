"""The protocol of Text Embeddings Inference: vectors, similarities and tokens. Its `GET /info` is in `ops`."""

from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from embedding.api.edge.disconnect import while_connected
from embedding.api.edge.schema import MAX_TEXTS, JsonBody
from embedding.api.errors import InvalidInput, Problem, Refused, sentence
from embedding.api.openapi import ERRORS, NUMBERS, documented
from embedding.api.protocols import Protocol
from embedding.api.protocols.encoding import json_numbers, json_response
from embedding.api.protocols.options import Names, Options, Plan
from embedding.api.protocols.texts import (
    Dimensions,
    Task,
    Text,
    Truncate,
    answer_headers,
    check,
    check_count,
    embed,
    explained,
    model_headers,
    place,
    read_body,
)
from embedding.model import Unsupported
from embedding.model.tokenizer import task_prompt
from embedding.model.vectors import unit
from embedding.serving import Service

T = TypeVar("T")

Several = msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": MAX_TEXTS})
Texts = Annotated[list[Text], Several]
Inputs = Annotated[Text | Texts, msgspec.Meta(description="a text, or a list of texts")]
Direction = Annotated[
    Literal["left", "right", "Left", "Right"] | None,
    msgspec.Meta(description="which end of such a text is cut off; by default the right one"),
]
MAX_TOKENIZED = 100_000
"""Characters of which one answer gives the tokens: each takes some 200 bytes of JSON, and more while that is made."""
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], msgspec.Meta(min_length=1)]


class EmbedRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed, all under one of the model's prompts."""

    inputs: Inputs
    normalize: Annotated[
        bool | None, msgspec.Meta(description="false: vectors as they are before the model's own normalisation")
    ] = True
    truncate: Truncate = True
    truncation_direction: Direction = "right"
    prompt_name: Task | None = None
    dimensions: Dimensions | None = None
    encoding_format: Annotated[Literal["float"] | None, msgspec.Meta(description="has no effect")] = None


class Sentences(msgspec.Struct, forbid_unknown_fields=True):
    """A sentence, and those that it is compared with."""

    source_sentence: Text
    sentences: Texts


class SimilarityParameters(msgspec.Struct, forbid_unknown_fields=True):
    """How the sentences are read."""

    truncate: Truncate = True
    truncation_direction: Direction = "right"
    prompt_name: Task | None = None


class SimilarityRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A sentence to compare with others."""

    inputs: Sentences
    parameters: SimilarityParameters | None = None


class RootRequest(EmbedRequest, forbid_unknown_fields=True):
    """What `/embed` takes, or, where `inputs` are sentences, what `/similarity` takes."""

    inputs: Annotated[  # type: ignore[assignment]  # it takes more than its base does
        Text | Texts | Sentences, msgspec.Meta(description="texts to embed, or sentences to compare")
    ]
    parameters: SimilarityParameters | None = None


class EmbedAllRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts whose tokens are wanted as vectors."""

    inputs: Inputs
    truncate: Truncate = True
    truncation_direction: Direction = "right"
    prompt_name: Task | None = None


class TokenizeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts whose tokens are wanted."""

    inputs: Inputs
    add_special_tokens: Annotated[
        bool | None, msgspec.Meta(description="with the tokens that the model puts around a text, as by default")
    ] = True
    prompt_name: Annotated[Task | None, msgspec.Meta(description="by default none")] = None


class DecodeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Token ids of this model's tokenizer."""

    ids: Annotated[
        list[TokenId | TokenIds],
        Several,
        msgspec.Meta(description="the ids of a text, or a list of such", extra_json_schema={"oneOf": [
            {"items": {"type": "integer"}}, {"items": {"type": "array"}},
        ]}),
    ]  # fmt: skip
    skip_special_tokens: Annotated[
        bool | None, msgspec.Meta(description="leave out the tokens that the model puts around a text, as by default")
    ] = True


class Empty(InvalidInput):
    """A list has nothing in it."""

    status = 400


class Impossible(Refused):
    """This model or its engine can't do what is asked."""

    status, kind = 424, "backend"


A_TEXT = "a string: token ids are not taken, send the text"
TEXTS = {"inputs": "a string or a list of strings", "inputs[]": A_TEXT}
READING = {"truncate": "a boolean", "truncation_direction": "'left' or 'right'", "prompt_name": "a string"}
EMBED = JsonBody(
    EmbedRequest,
    expects={
        **TEXTS,
        **READING,
        "normalize": "a boolean",
        "encoding_format": "'float'",
        "dimensions": "a whole number",
    },
)
ROOT = JsonBody(RootRequest, expects=EMBED.expects)
EMBED_ALL = JsonBody(EmbedAllRequest, expects={**TEXTS, **READING})
SIMILARITY = JsonBody(SimilarityRequest, expects={"inputs": "an object with source_sentence and sentences"})
TOKENIZE = JsonBody(TokenizeRequest, expects={**TEXTS, "add_special_tokens": "a boolean"})
DECODE = JsonBody(DecodeRequest, expects={"ids": "a list of token ids, or a list of such lists"})

NAMES = Names(texts="inputs", task="prompt_name")
OURS_TO_THEIRS = {
    401: "Unauthorized",
    424: "Backend",
    429: "Overloaded",
    500: "Backend",
    503: "Unhealthy",
    504: "Backend",
}
ANSWERS = {**ERRORS, 400: {"description": "A list has nothing in it."}}
ANSWERS_OF_SOME = {**ANSWERS, 424: {"description": "This model can't do that."}}
EXAMPLES: list[Any] = [{"inputs": ["What is machine learning?"], "prompt_name": "query"}]
SENTENCES: list[Any] = [{"inputs": {"source_sentence": "Stars form.", "sentences": ["Gas cools.", "Bread rises."]}}]
IDS: list[Any] = [{"ids": [2, 1]}]


def _answer(description: str, items: Any) -> dict[str, Any]:
    schema = {"type": "array", "items": items}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


VECTORS = _answer("A vector for each text, also where there is one.", NUMBERS)
TOKEN_VECTORS = _answer("For each text the vectors of its tokens.", {"type": "array", "items": NUMBERS})


def render_error(problem: Problem) -> Any:
    """The protocol's shape: a sentence, and a type of error."""
    kind = OURS_TO_THEIRS.get(problem.status, "Validation")
    if problem.kind in ("empty", "token_id"):
        kind = {"empty": "Empty", "token_id": "Tokenizer"}[problem.kind]
    return {"error": sentence(problem), "error_type": kind}


router = APIRouter(tags=["text-embeddings-inference"])
PROTOCOL = Protocol(router, [EMBED, ROOT, EMBED_ALL, SIMILARITY, TOKENIZE, DECODE], render_error)


@router.post("/embed", **documented(EMBED, VECTORS, EXAMPLES, ANSWERS))
async def embed_texts(request: Request) -> Response:
    """The vector of each text, of unit length where the model normalises."""
    return await _vectors(request, await read_body(request, EMBED))


@router.post(
    "/similarity", **documented(SIMILARITY, _answer("A cosine for each.", {"type": "number"}), SENTENCES, ANSWERS)
)
async def similarity(request: Request) -> Response:
    """The cosine between the source sentence and each of the others, all under one prompt."""
    body = await read_body(request, SIMILARITY)
    return await _similarities(request, body.inputs, body.parameters)


@router.post(
    "/", **documented(ROOT, _answer("As `/embed` or `/similarity` answer.", {}), EXAMPLES + SENTENCES, ANSWERS)
)
async def root(request: Request) -> Response:
    """What `/embed` or `/similarity` does, for clients that know no path."""
    body = await read_body(request, ROOT)
    if isinstance(body.inputs, Sentences):
        return await _similarities(request, body.inputs, body.parameters)
    if body.parameters is not None:
        raise InvalidInput(("parameters",), "extra_forbidden", "belongs to sentences, not to texts")
    return await _vectors(request, body)


@router.post("/embed_all", **documented(EMBED_ALL, TOKEN_VECTORS, EXAMPLES, ANSWERS_OF_SOME))
async def embed_tokens(request: Request) -> Response:
    """The encoder's own vector of each token, those of the prompt and special ones among them, neither pooled nor
    normalised."""
    body = await read_body(request, EMBED_ALL)
    options = _options(body)
    texts, planned = _read(request, body.inputs, options)
    service: Service = request.app.state.service
    work = service.embed_tokens(
        texts,
        planned.prompt.side,
        truncate=options.truncate,
        prompt=planned.prompt.words,
        keep_end=options.keep_end,
    )
    vectors = await _answered(request, work, body.inputs)
    return json_response([json_numbers(each) for each in vectors], model_headers(request))


@router.post("/tokenize", **documented(TOKENIZE, _answer("The tokens of each text.", {"type": "array"}), EXAMPLES,
                                       ANSWERS_OF_SOME))  # fmt: skip
async def tokenize(request: Request) -> Response:
    """All tokens of each text, also those beyond the model's limit, with their places in the text in characters."""
    body = await read_body(request, TOKENIZE)
    texts, planned = _read(request, body.inputs, Options(task="none" if body.prompt_name is None else body.prompt_name))
    if (chars := sum(map(len, texts))) > MAX_TOKENIZED:
        most = f"and the tokens of at most {MAX_TOKENIZED} are given at once"
        raise InvalidInput(("inputs",), "too_large", f"has {chars} characters, {most}")
    service: Service = request.app.state.service
    side, words = planned.prompt.side, planned.prompt.words
    before = task_prompt(service.loaded.prompts, side) if words is None else words
    work = service.tokens(texts, side, before, body.add_special_tokens is not False)
    found = await _answered(request, work, body.inputs)
    answer = [
        [
            {
                "id": token.id,
                "text": token.text if token.start is None else text[token.start : token.stop],
                "special": token.special,
                "start": token.start,
                "stop": token.stop,
            }
            for token in tokens
        ]
        for text, tokens in zip(texts, found, strict=True)
    ]
    return json_response(answer, model_headers(request))


@router.post("/decode", **documented(DECODE, _answer("A text for each.", {"type": "string"}), IDS, ANSWERS_OF_SOME))
async def decode(request: Request) -> Response:
    """The text that has these tokens."""
    body = await read_body(request, DECODE)
    _check_not_empty(body.ids, "ids")
    several = [each for each in body.ids if isinstance(each, list)]
    if several and len(several) < len(body.ids):
        raise InvalidInput(("ids",), "type", f"must be {DECODE.expects['ids']}")
    ids = several or [[each for each in body.ids if isinstance(each, int)]]
    check_count(len(ids), ("ids",), request.app.state.settings.max_client_batch)
    service: Service = request.app.state.service
    try:
        texts = await _answered(request, service.decode(ids, body.skip_special_tokens is not False), ids)
    except ValueError as error:
        raise InvalidInput(("ids",), "token_id", f"has an id that is no token's: {error}") from None
    return json_response(texts, model_headers(request))


async def _vectors(request: Request, body: EmbedRequest | RootRequest) -> Response:
    assert not isinstance(body.inputs, Sentences)
    _check_not_empty(body.inputs, "inputs")
    options = _options(body, dimensions=body.dimensions, normalize=None if body.normalize else body.normalize)
    result = await embed(request, body.inputs, options, NAMES)
    return json_response(json_numbers(result.numbers()), answer_headers(request, result))


async def _similarities(request: Request, inputs: Sentences, parameters: SimilarityParameters | None) -> Response:
    _check_not_empty(inputs.sentences, "inputs", "sentences")
    try:
        result = await embed(
            request, [inputs.source_sentence, *inputs.sentences], _options(parameters or SimilarityParameters()), NAMES
        )
    except InvalidInput as error:
        match error.location:
            case (_, "inputs", 0):
                error.location = ("body", "inputs", "source_sentence")
            case (_, "inputs", int(place)):
                error.location = ("body", "inputs", "sentences", place - 1)
        raise
    source, *others = unit(result.vectors)
    return json_response([float(other @ source) for other in others], answer_headers(request, result))


def _options(body: EmbedRequest | EmbedAllRequest | SimilarityParameters, **more: Any) -> Options:
    return Options(
        task=body.prompt_name,
        truncate=body.truncate is not False,
        keep_end=(body.truncation_direction or "right").lower() == "left",
        **more,
    )


def _read(request: Request, inputs: str | Sequence[str], options: Options) -> tuple[Sequence[str], Plan]:
    """The texts, checked, and what is asked for."""
    _check_not_empty(inputs, "inputs")
    state = request.app.state
    asked = check(state.service, state.settings, inputs, options, NAMES)
    return [inputs] if isinstance(inputs, str) else inputs, asked


async def _answered(request: Request, work: Coroutine[Any, Any, T], inputs: str | Sequence[Any]) -> T:
    """What `work` gives for these inputs."""
    try:
        return await while_connected(request, explained(work, lambda index: place(inputs, NAMES, index)))
    except Unsupported as error:
        raise Impossible(f"{error}.") from None


def _check_not_empty(values: Sequence[Any], *location: str) -> None:
    if not values and not isinstance(values, str):
        raise Empty(location, "empty", "must not be empty")
