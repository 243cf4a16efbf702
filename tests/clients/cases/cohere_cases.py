"""The cohere client: both versions of its API, sync, async, every type of embedding, and its errors."""

import asyncio
import base64

import cohere
import numpy as np
import pytest
from given import DIMENSION, DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, TOO_LONG, URL, cut, run_lines_of, same

client = cohere.ClientV2(api_key=TOKEN, base_url=URL)
ONCE = {"max_retries": 0}


def test_the_documented_lines() -> None:
    names = run_lines_of("cohere")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


@pytest.mark.parametrize(("input_type", "expected"), [("search_query", QUERY), ("search_document", DOCUMENT)])
def test_the_input_type_says_which_prompt(input_type: str, expected: np.ndarray) -> None:
    async def embed() -> cohere.EmbedByTypeResponse:
        async with cohere.AsyncClientV2(api_key=TOKEN, base_url=URL) as client:
            return await client.embed(model=MODEL, texts=TEXTS, input_type=input_type)

    answer = client.embed(model=MODEL, texts=TEXTS, input_type=input_type, embedding_types=["float"])

    assert same(answer.embeddings.float_, expected)
    assert same(asyncio.run(embed()).embeddings.float_, expected)
    assert answer.texts == TEXTS
    assert answer.meta.billed_units.input_tokens > len(TEXTS)


def test_every_type_of_embedding_in_one_answer() -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]

    answer = client.embed(model=MODEL, texts=TEXTS, input_type="search_query", embedding_types=types).embeddings

    bits = np.packbits(QUERY > 0, axis=1)
    assert answer.ubinary == bits.tolist()
    assert answer.binary == (bits.astype(int) - 128).tolist()
    assert np.array(answer.int8).shape == np.array(answer.uint8).shape == QUERY.shape
    assert (np.array(answer.uint8) - 128).tolist() == answer.int8
    assert same([np.frombuffer(base64.b64decode(vector), "<f4") for vector in answer.base64], QUERY)
    assert same(answer.float_, QUERY)


def test_vectors_are_cut_and_of_unit_length_again() -> None:
    answer = client.embed(model=MODEL, texts=TEXTS, input_type="search_document", output_dimension=32)

    assert same(answer.embeddings.float_, cut(DOCUMENT, 32))


@pytest.mark.parametrize("types", [None, ["float"]])
def test_the_first_version_of_the_api(types: list[str] | None) -> None:
    async def embed() -> cohere.EmbedResponse:
        async with cohere.AsyncClient(TOKEN, base_url=URL) as client:
            return await client.embed(model=MODEL, texts=TEXTS, input_type="search_document", **more)

    more = {"embedding_types": types} if types else {}
    answers = [
        cohere.Client(TOKEN, base_url=URL).embed(model=MODEL, texts=TEXTS, input_type="search_document", **more),
        asyncio.run(embed()),
    ]

    for answer in answers:
        assert same(answer.embeddings.float_ if types else answer.embeddings, DOCUMENT)


def test_errors_are_those_that_the_client_has_classes_for() -> None:
    def embed(**more: object) -> None:
        body = {"model": MODEL, "texts": ["x"], "input_type": "search_query", **more}
        client.embed(**body, request_options=ONCE)

    with pytest.raises(cohere.NotFoundError, match="no such model"):
        embed(model="embed-v4.0")
    with pytest.raises(cohere.UnprocessableEntityError, match="blank"):
        embed(texts=["x", " "])
    with pytest.raises(cohere.UnprocessableEntityError, match="output_dimension"):
        embed(output_dimension=DIMENSION + 1)
    with pytest.raises(cohere.UnprocessableEntityError, match="reads at most"):
        embed(texts=[TOO_LONG], truncate="NONE")
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2(api_key="wrong", base_url=URL).embed(model=MODEL, texts=["x"], input_type="search_query")
