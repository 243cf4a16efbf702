"""huggingface_hub's InferenceClient, which talks to Text Embeddings Inference."""

import asyncio

import numpy as np
import pytest
from given import DOCUMENT, QUERY, TEXTS, TOKEN, TOO_LONG, URL, cut, run_lines_of, same
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

client = InferenceClient(base_url=URL, token=TOKEN)


def test_the_documented_lines() -> None:
    names = run_lines_of("huggingface_hub")

    assert same(names.query, QUERY[0])
    assert same(names.documents, DOCUMENT)


@pytest.mark.parametrize("address", [URL, f"{URL}/", f"{URL}/embed"])
def test_vectors_come_from_any_address_of_the_protocol(address: str) -> None:
    assert same(InferenceClient(model=address, token=TOKEN).feature_extraction(TEXTS), QUERY)


def test_the_async_client() -> None:
    async def embed() -> np.ndarray:
        async with AsyncInferenceClient(base_url=URL, token=TOKEN) as client:
            return await client.feature_extraction(TEXTS, prompt_name="document", normalize=True, truncate=True)

    assert same(asyncio.run(embed()), DOCUMENT)


def test_one_text_is_one_row() -> None:
    assert same(client.feature_extraction(TEXTS[0], truncation_direction="right"), QUERY[:1])


def test_vectors_are_cut_and_of_unit_length_again() -> None:
    assert same(client.feature_extraction(TEXTS, dimensions=32, encoding_format="float"), cut(QUERY, 32))


@pytest.mark.parametrize("address", [URL, f"{URL}/similarity"])
def test_similarities_are_cosines(address: str) -> None:
    async def similarity() -> list[float]:
        async with AsyncInferenceClient(base_url=address, token=TOKEN) as client:
            return await client.sentence_similarity(TEXTS[0], TEXTS[1:])

    answer = InferenceClient(base_url=address, token=TOKEN).sentence_similarity(TEXTS[0], TEXTS[1:])

    assert same(answer, QUERY[1:] @ QUERY[0])
    assert asyncio.run(similarity()) == answer


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(HfHubHTTPError, match="prompt_name must be") as prompt:
        client.feature_extraction("x", prompt_name="nonsense")
    with pytest.raises(HfHubHTTPError, match="reads at most") as long:
        client.feature_extraction(TOO_LONG, truncate=False)
    with pytest.raises(HfHubHTTPError) as token:
        InferenceClient(base_url=URL, token="wrong").feature_extraction("x")

    assert [error.value.response.status_code for error in (prompt, long, token)] == [422, 422, 401]
