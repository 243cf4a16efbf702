"""LangChain: its OpenAI and its Cohere embeddings, sync and async."""

import asyncio
import importlib.util
from pathlib import Path

import openai
import pytest
from given import DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, URL, run_lines_of, same
from langchain_cohere import CohereEmbeddings
from langchain_core.embeddings import Embeddings
from langchain_openai import OpenAIEmbeddings

# LiteLLM brings the vocabulary that tiktoken would download.
LITELLM = Path(importlib.util.find_spec("litellm").origin).parent
OPTIONS = {"base_url": f"{URL}/v1", "api_key": TOKEN}


async def embed(embeddings: Embeddings) -> tuple[list[float], list[list[float]]]:
    return await embeddings.aembed_query(TEXTS[0]), await embeddings.aembed_documents(TEXTS)


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

    query, documents = asyncio.run(embed(embeddings))

    assert same(query, DOCUMENT[0])
    assert same(documents, DOCUMENT)


def test_ids_of_another_tokenizer_are_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(LITELLM / "litellm_core_utils/tokenizers"))
    embeddings = OpenAIEmbeddings(model=MODEL, **OPTIONS)

    with pytest.raises(
        (openai.BadRequestError, openai.UnprocessableEntityError), match="check_embedding_ctx_length=False"
    ):
        embeddings.embed_documents(TEXTS)


def test_cohere_async() -> None:
    embeddings = CohereEmbeddings(model=MODEL, base_url=URL, cohere_api_key=TOKEN)

    query, documents = asyncio.run(embed(embeddings))

    assert same(query, QUERY[0])
    assert same(documents, DOCUMENT)
