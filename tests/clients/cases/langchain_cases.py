"""LangChain: its OpenAI and its Cohere embeddings, sync and async."""

import asyncio

import litellm  # noqa: F401 - it brings tiktoken's vocabulary, which tiktoken would download
import openai
import pytest
from given import DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, URL, run_lines_of, same
from langchain_cohere import CohereEmbeddings
from langchain_openai import OpenAIEmbeddings

OPTIONS = {"base_url": f"{URL}/v1", "api_key": TOKEN}


def test_the_documented_lines_of_openai() -> None:
    names = run_lines_of("langchain-openai")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_the_documented_lines_of_cohere() -> None:
    names = run_lines_of("langchain-cohere")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_openai_async() -> None:
    embeddings = OpenAIEmbeddings(model=f"{MODEL}:document", check_embedding_ctx_length=False, **OPTIONS)

    assert same(asyncio.run(embeddings.aembed_documents(TEXTS)), DOCUMENT)
    assert same(asyncio.run(embeddings.aembed_query(TEXTS[0])), DOCUMENT[0])


def test_ids_of_another_tokenizer_are_refused_with_the_cure() -> None:
    embeddings = OpenAIEmbeddings(model=MODEL, **OPTIONS)

    with pytest.raises(
        (openai.BadRequestError, openai.UnprocessableEntityError), match="check_embedding_ctx_length=False"
    ):
        embeddings.embed_documents(TEXTS)


def test_cohere_async() -> None:
    embeddings = CohereEmbeddings(model=MODEL, base_url=URL, cohere_api_key=TOKEN)

    assert same(asyncio.run(embeddings.aembed_query(TEXTS[0])), QUERY[0])
    assert same(asyncio.run(embeddings.aembed_documents(TEXTS)), DOCUMENT)
