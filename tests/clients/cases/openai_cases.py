"""The openai client: sync, async, and its errors."""

import asyncio

import numpy as np
import openai
import pytest
from given import DIMENSION, DOCUMENT, MODEL, NONE, QUERY, TEXTS, TOKEN, TOO_LONG, URL, cut, run_lines_of, same

BAD_INPUT = (openai.BadRequestError, openai.UnprocessableEntityError)
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=TOKEN, max_retries=0)


def vectors(answer: openai.types.CreateEmbeddingResponse) -> list[list[float]]:
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return [item.embedding for item in answer.data]


def test_the_documented_lines() -> None:
    names = run_lines_of("openai, Python")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


@pytest.mark.parametrize(("suffix", "expected"), [("", QUERY), (":query", QUERY), (":document", DOCUMENT)])
def test_a_name_says_which_prompt(suffix: str, expected: object) -> None:
    assert same(vectors(client.embeddings.create(model=MODEL + suffix, input=TEXTS)), expected)


@pytest.mark.parametrize(("task", "expected"), [("query", QUERY), ("document", DOCUMENT), ("none", NONE)])
def test_the_body_says_which_prompt(task: str, expected: object) -> None:
    assert same(vectors(client.embeddings.create(model=MODEL, input=TEXTS, extra_body={"task": task})), expected)


def test_the_async_client() -> None:
    async def embed() -> openai.types.CreateEmbeddingResponse:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=TOKEN) as client:
            return await client.embeddings.create(model=f"{MODEL}:document", input=TEXTS)

    assert same(vectors(asyncio.run(embed())), DOCUMENT)


def test_the_clients_default_of_base64_equals_floats() -> None:
    default = client.embeddings.create(model=MODEL, input=TEXTS)
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")

    assert np.array_equal(np.float32(vectors(default)), np.float32(vectors(floats)))
    assert default.usage.prompt_tokens == floats.usage.total_tokens > len(TEXTS)
    assert default.object == "list"


@pytest.mark.parametrize("dimension", [1, 32, DIMENSION])
def test_vectors_are_cut_and_of_unit_length_again(dimension: int) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS, dimensions=dimension, user="someone")

    assert same(vectors(answer), cut(QUERY, dimension))


def test_the_models_are_listed_with_their_prompts() -> None:
    names = [model.id for model in client.models.list()]

    assert client.models.retrieve(names[0]).id == names[0]
    assert any(name.endswith(":document") for name in names)


def test_errors_are_those_that_the_client_has_classes_for() -> None:
    with pytest.raises(openai.NotFoundError, match="no such model"):
        client.embeddings.create(model="text-embedding-3-small", input="x")
    with pytest.raises(BAD_INPUT) as blank:
        client.embeddings.create(model=MODEL, input=["x", " "])
    with pytest.raises(BAD_INPUT):
        client.embeddings.create(model=MODEL, input="x", dimensions=DIMENSION + 1)
    with pytest.raises(BAD_INPUT, match="check_embedding_ctx_length=False"):
        client.embeddings.create(model=MODEL, input=[[1, 2, 3]])
    with pytest.raises(BAD_INPUT):
        client.embeddings.create(model=MODEL, input=TOO_LONG, extra_body={"truncate": False})
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").embeddings.create(model=MODEL, input="x")

    assert blank.value.type == "invalid_request_error"
    assert "input" in str(blank.value.param)
