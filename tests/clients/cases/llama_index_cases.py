"""LlamaIndex: its OpenAI-like and its Cohere embedding, sync and async."""

import asyncio

from given import DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, URL, run_lines_of, same
from llama_index.embeddings.openai_like import OpenAILikeEmbedding


def test_the_documented_lines_of_openai_like() -> None:
    names = run_lines_of("llama-index-embeddings-openai-like")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_the_documented_lines_of_cohere() -> None:
    names = run_lines_of("llama-index-embeddings-cohere", any_name=True)

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_async() -> None:
    embedding = OpenAILikeEmbedding(model_name=f"{MODEL}:document", api_base=f"{URL}/v1", api_key=TOKEN)

    async def embed() -> tuple[list[float], list[list[float]]]:
        return await embedding.aget_query_embedding(TEXTS[0]), await embedding.aget_text_embedding_batch(TEXTS)

    query, documents = asyncio.run(embed())

    assert same(query, DOCUMENT[0])
    assert same(documents, DOCUMENT)
