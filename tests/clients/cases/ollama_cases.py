"""The ollama client and LangChain's use of it."""

import asyncio

import ollama
import pytest
from given import DOCUMENT, MODEL, QUERY, TEXTS, TOKEN, TOO_LONG, URL, cut, run_lines_of, same
from langchain_ollama import OllamaEmbeddings

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
client = ollama.Client(host=URL, headers=HEADERS)


def test_the_documented_lines() -> None:
    names = run_lines_of("ollama")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


def test_the_async_client() -> None:
    answer = asyncio.run(ollama.AsyncClient(host=URL, headers=HEADERS).embed(f"{MODEL}:document", TEXTS))

    assert same(answer.embeddings, DOCUMENT)


def test_the_key_that_the_client_reads_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", TOKEN)
    monkeypatch.setenv("OLLAMA_HOST", URL)

    assert same(ollama.Client().embed(MODEL, TEXTS).embeddings, QUERY)


def test_vectors_are_cut_and_of_unit_length_again() -> None:
    answer = client.embed(f"{MODEL}:latest", TEXTS, dimensions=32, truncate=True, keep_alive="5m", options={"seed": 1})

    assert same(answer.embeddings, cut(QUERY, 32))
    assert answer.prompt_eval_count > len(TEXTS)
    assert answer.total_duration > 0


def test_the_old_endpoint() -> None:
    assert same(client.embeddings(MODEL, TEXTS[0]).embedding, QUERY[0])


def test_an_input_of_nothing_loads_the_model() -> None:
    assert client.embed(MODEL).embeddings == []


def test_the_models_are_listed() -> None:
    names = [model.model for model in client.list().models]

    assert f"{MODEL}:document" in names
    for name in names:
        assert client.embed(name, "x").embeddings


def test_langchain() -> None:
    embeddings = OllamaEmbeddings(
        model=f"{MODEL}:document", base_url=URL, client_kwargs={"headers": HEADERS}, validate_model_on_init=True
    )

    assert same(embeddings.embed_documents(TEXTS), DOCUMENT)
    assert same(asyncio.run(embeddings.aembed_documents(TEXTS)), DOCUMENT)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ollama.ResponseError, match="no such model") as unknown:
        client.embed("llama3", "x")
    with pytest.raises(ollama.ResponseError, match=r"input\[1\] must not be blank") as blank:
        client.embed(MODEL, ["x", " "])
    with pytest.raises(ollama.ResponseError, match="reads at most") as long:
        client.embed(MODEL, TOO_LONG, truncate=False)
    with pytest.raises(ollama.ResponseError, match="token") as token:
        ollama.Client(host=URL).embed(MODEL, "x")

    assert [error.value.status_code for error in (unknown, blank, long, token)] == [404, 422, 422, 401]
