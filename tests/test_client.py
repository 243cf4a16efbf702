"""`embedding.client` gives the right vectors in their order, to programs and to LangChain."""

import asyncio
import re
import subprocess
import sys
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from embedding.client import AsyncEmbeddingClient, EmbeddingClient, Model, errors
from tests.cli import ROOT
from tests.fake_service import TOKEN, Connect, FakeService, Reply, live_client
from tests.live import TOKEN as LIVE_TOKEN

TEXTS = [str(number) for number in range(23)]


def test_queries_and_documents_get_the_vectors_of_their_tasks(demo: httpx.Client) -> None:
    texts = ["Galaxies form when gas cools.", "Brot geht auf, wenn Hefe gärt. 🥖"]
    expected = demo.post("/predict", json={"query": texts, "task": "document"}).json()
    query = demo.post("/predict", json={"query": "how do galaxies form?"}).json()

    with live_client(demo) as client:
        documents, vector = client.embed_documents(texts), client.embed_query("how do galaxies form?")

    assert documents.dtype == vector.dtype == np.float32
    np.testing.assert_allclose(documents, expected, atol=1e-6)
    np.testing.assert_allclose(vector, query, atol=1e-6)
    assert documents.flags.writeable


def test_the_service_names_its_model_in_each_answer(demo: httpx.Client) -> None:
    def asked() -> float:
        counted = re.search(
            r'^embedding_requests_total{[^}]*route="/info"[^}]*} (.*)$', demo.get("/metrics").text, re.M
        )
        return float(counted[1]) if counted else 0

    info = demo.get("/info").json()
    before = asked()

    with live_client(demo, expected_model=Model(info["model_id"], info["model_sha"])) as client:
        for text in ("one", "two", "three"):
            client.embed_query(text)

    assert asked() == before + 1  # for the limits, once: each answer names the model


def test_prompts_differ_where_the_models_do(gemma: httpx.Client) -> None:
    with live_client(gemma) as client:
        assert not np.allclose(client.embed_query("star"), client.embed_documents(["star"])[0], atol=1e-3)


@pytest.mark.parametrize("npy", [True, False], ids=["bytes", "json"])
def test_many_texts_come_back_in_their_order(connect: Connect, fake: FakeService, npy: bool) -> None:
    fake.npy = npy
    fake.seconds = 0.01

    vectors = connect(concurrency=3).embed_documents(TEXTS)

    assert vectors[:, 0].tolist() == list(range(23))
    assert [len(request.body["query"]) for request in fake.sent_to("/predict")].count(4) == 5
    assert 1 < fake.most_in_flight <= 3


def test_bytes_are_asked_for(connect: Connect, fake: FakeService) -> None:
    connect().embed_query("1")

    assert fake.requests[-2].headers["accept"].startswith("application/x-npy")


def test_no_texts_have_no_vectors(connect: Connect, fake: FakeService) -> None:
    assert connect().embed_documents([]).shape == (0, 2)
    fake.info |= {"dimension": 7, "default_dimensions": 2}
    assert connect().embed_documents([]).shape == (0, 2)
    assert connect().info().dimension == 2


def test_batches_keep_to_the_bytes_that_the_service_takes(connect: Connect, fake: FakeService) -> None:
    fake.info |= {"max_client_batch_size": 100, "max_body_bytes": 500}
    texts = [f"{number:040}" for number in range(40)]

    vectors = connect().embed_documents(texts)

    assert vectors[:, 0].tolist() == list(range(40))
    assert max(int(request.headers["content-length"]) for request in fake.sent_to("/predict")) <= 500
    assert len(fake.sent_to("/predict")) < 10


@pytest.mark.parametrize("refusal", [(413, "too_large"), (422, "too_large"), (422, "too_many_texts")])
def test_a_batch_too_large_is_sent_in_halves(connect: Connect, fake: FakeService, refusal: tuple[int, str]) -> None:
    refused = Reply(refusal[0], body={"detail": [{"loc": ["body"], "type": refusal[1], "msg": "is too much"}]})
    fake.next(refused, refused)

    assert connect().embed_documents(TEXTS[:4])[:, 0].tolist() == [0, 1, 2, 3]


def test_any_iterable_of_texts_will_do(connect: Connect) -> None:
    assert connect().embed_documents(text for text in ("3", "4"))[:, 0].tolist() == [3, 4]


def test_titles_go_beside_the_texts(connect: Connect, fake: FakeService) -> None:
    connect().embed_documents(TEXTS[:6], titles=["a", None, "c", "d", "e", "f"])

    bodies = {tuple(request.body["query"]): request.body["titles"] for request in fake.sent_to("/predict")}
    assert bodies == {("0", "1", "2", "3"): ["a", "", "c", "d"], ("4", "5"): ["e", "f"]}


def test_titles_are_sent_only_where_given(connect: Connect, fake: FakeService) -> None:
    connect().embed_documents(["1"])

    assert fake.sent_to("/predict")[0].body == {"query": ["1"], "task": "document"}


def test_similarity_is_the_cosine_of_each_with_each() -> None:
    a, b = np.array([3.0, 4.0]), [[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]

    assert EmbeddingClient.similarity(a, b) == pytest.approx(np.array([[1.0, 0.8, 0.0]]))
    assert AsyncEmbeddingClient.similarity(b, b).shape == (3, 3)
    with pytest.raises(TypeError, match="embed_query"):
        EmbeddingClient.similarity("text", ["text"])


def test_one_client_serves_many_threads(fake: FakeService) -> None:
    found: dict[int, list[float]] = {}
    with EmbeddingClient(fake.url, TOKEN) as client:

        def embed(start: int) -> None:
            found[start] = client.embed_documents([str(start + i) for i in range(9)])[:, 0].tolist()

        threads = [threading.Thread(target=embed, args=(100 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == {100 * n: [100 * n + i for i in range(9)] for n in range(8)}


def test_calls_of_one_event_loop_run_side_by_side(fake: FakeService) -> None:
    async def embed() -> list[Any]:
        async with AsyncEmbeddingClient(fake.url, TOKEN) as client:
            return await asyncio.gather(*(client.embed_query(text) for text in TEXTS))

    assert [vector[0] for vector in asyncio.run(embed())] == list(range(23))


def test_the_token_goes_as_bearer(connect: Connect, fake: FakeService) -> None:
    connect().embed_query("1")

    assert {request.headers["authorization"] for request in fake.requests} == {f"Bearer {TOKEN}"}
    assert not any("x-api-key" in request.headers for request in fake.requests)


def test_a_private_space_gets_both_tokens(connect: Connect, fake: FakeService) -> None:
    connect(hf_token="hf_x").embed_query("1")

    headers = fake.requests[-2].headers
    assert (headers["authorization"], headers["x-api-key"]) == ("Bearer hf_x", TOKEN)


@pytest.mark.parametrize("name", ["auth_token", "AUTH_TOKEN"])
def test_address_and_token_come_from_the_environment(
    fake: FakeService, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_URL", f"{fake.url}/")
    monkeypatch.setenv(name, f" {TOKEN}, the-next-one")

    with EmbeddingClient() as client:
        client.embed_query("1")

    assert fake.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_token_beyond_ascii_arrives_as_utf_8(connect: Connect, fake: FakeService) -> None:
    connect(token="schlüssel").embed_query("1")

    assert fake.requests[0].headers["authorization"].encode("latin-1") == "Bearer schlüssel".encode()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:7860",
        "ftp://host",
        "http://",
        "http://user:pw@host",
        "http://h/?a=b",
        "http://h:port",
        "http://h:99999",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"url|EMBEDDING_URL"):
        EmbeddingClient(url, TOKEN)


@pytest.mark.parametrize("token", [None, "", " , ", "se\ncret", "\udc80"])
def test_a_token_that_is_none_is_refused(token: str | None) -> None:
    with pytest.raises(errors.AuthenticationError, match="token") as caught:
        EmbeddingClient("http://127.0.0.1:7860", token)
    assert "cret" not in str(caught.value)


def test_a_wrong_token_is_told(demo: httpx.Client) -> None:
    with (
        EmbeddingClient(str(demo.base_url), "wrong-token") as client,
        pytest.raises(errors.AuthenticationError, match="auth_token") as caught,
    ):
        client.embed_query("star")
    assert "wrong-token" not in str(caught.value) + repr(client)


def test_importing_it_imports_nothing_of_the_service() -> None:
    code = "import sys, embedding.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())

    heavy = "torch onnxruntime tokenizers transformers sentence_transformers huggingface_hub pydantic fastapi starlette"
    assert not modules & set(heavy.split())
    assert all(m.startswith("embedding.client") for m in modules if m.startswith("embedding."))


def test_it_serves_langchain_as_its_embeddings(demo: httpx.Client) -> None:
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    texts = ["Galaxies form when gas cools.", "Bread rises when yeast ferments."]
    with live_client(demo) as client:
        store = InMemoryVectorStore(client)
        store.add_texts(texts)
        asyncio.run(store.aadd_texts(["Superconductivity at the edge of a flat band."]))

        found = store.similarity_search("Why does dough rise?", k=1)
        found += asyncio.run(store.asimilarity_search("How are stars born?", k=1))
        found += store.max_marginal_relevance_search("Why does dough rise?", k=1)

    assert isinstance(client, Embeddings)
    assert [document.page_content for document in found] == [texts[1], texts[0], texts[1]]


def test_the_old_integration_keeps_working(demo: httpx.Client) -> None:
    def get_query_embedding(query: str, api_url: str, auth_token: str) -> list[float]:
        answer = httpx.post(api_url, json={"query": query}, headers={"Authorization": f"Bearer {auth_token}"})
        answer.raise_for_status()
        return list(answer.json())

    vector = get_query_embedding("star", f"{demo.base_url}/predict", LIVE_TOKEN)

    assert len(vector) == 384
    assert all(type(number) is float for number in vector)


def test_the_address_that_the_old_integration_has_will_do(demo: httpx.Client) -> None:
    with EmbeddingClient(f"{demo.base_url}/predict", LIVE_TOKEN) as client:
        assert client.embed_query("star").shape == (384,)
