"""Chroma: its OpenAI function, alone and inside a collection."""

import chromadb
from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction
from given import DOCUMENT, MODEL, QUERY, TEXTS, URL, run_lines_of, same


def test_the_documented_lines() -> None:
    names = run_lines_of("chromadb")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_a_collection_embeds_what_it_is_given() -> None:
    function = OpenAIEmbeddingFunction(
        api_key_env_var="auth_token", api_base=f"{URL}/v1", model_name=f"{MODEL}:document"
    )
    settings = chromadb.Settings(anonymized_telemetry=False)
    collection = chromadb.EphemeralClient(settings).create_collection("texts", embedding_function=function)

    collection.add(ids=[str(place) for place in range(len(TEXTS))], documents=TEXTS)

    kept = collection.get(include=["embeddings"])
    assert same(kept["embeddings"], DOCUMENT)
    assert collection.query(query_embeddings=[QUERY[0]], n_results=1)["ids"][0]
