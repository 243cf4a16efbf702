"""LiteLLM: as OpenAI and as Cohere, sync and async."""

import asyncio

import litellm
import pytest
from given import DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, URL, cut, run_lines_of, same


def vectors(answer: litellm.EmbeddingResponse) -> list[list[float]]:
    return [item["embedding"] for item in answer.data]


def test_the_documented_lines() -> None:
    names = run_lines_of("litellm")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_async() -> None:
    answer = asyncio.run(
        litellm.aembedding(model=f"openai/{MODEL}:document", input=TEXTS, api_base=f"{URL}/v1", api_key=TOKEN)
    )

    assert same(vectors(answer), DOCUMENT)
    assert answer.usage.prompt_tokens > len(TEXTS)


def test_as_cohere() -> None:
    options = {"model": f"cohere/{MODEL}", "input": TEXTS, "api_base": f"{URL}/v2/embed", "api_key": TOKEN}

    assert same(vectors(litellm.embedding(**options, input_type="search_query")), QUERY)
    assert same(vectors(asyncio.run(litellm.aembedding(**options, input_type="search_document"))), DOCUMENT)
    assert same(vectors(litellm.embedding(**options, input_type="search_query", dimensions=32)), cut(QUERY, 32))


def test_errors_are_those_that_the_client_has_classes_for() -> None:
    with pytest.raises(litellm.NotFoundError):
        litellm.embedding(model="openai/other", input=["x"], api_base=f"{URL}/v1", api_key=TOKEN)
    with pytest.raises(litellm.AuthenticationError):
        litellm.embedding(model=f"openai/{MODEL}", input=["x"], api_base=f"{URL}/v1", api_key="wrong")
