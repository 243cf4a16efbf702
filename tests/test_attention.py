"""Attention of a prepared graph: every token sees what it has to see, at any length and in any company."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from embedding.model.prepare.graph import Graph
from embedding.model.prepare.ragged_inputs import RaggedInputs
from embedding.model.ragged import attention_blocks, graph_inputs
from embedding.model.table import Table, write

HEADS, HEAD = 3, 8
RADIUS = 24


@pytest.fixture(scope="module", params=[None, RADIUS], ids=["all", "window"])
def radius(request: pytest.FixtureRequest) -> int | None:
    return request.param


@pytest.fixture(scope="module")
def attention(radius: int | None, tmp_path_factory: pytest.TempPathFactory):
    """Runs attention alone over texts of token ids, and gives the mean of each text's rows and their true mean."""
    folder = tmp_path_factory.mktemp("attention")
    table = np.random.default_rng(0).standard_normal((64, (HEADS + 2) * HEAD)).astype(np.float32)
    write(folder, "float32", table)
    session = _session(folder / "attention.onnx", radius)

    def run(*texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        feed = graph_inputs(session, [text.tolist() for text in texts], Table(folder, "float32"), "mean")
        return session.run(None, feed)[0], np.array([_attend(table[text], radius).mean(axis=0) for text in texts])

    return run


def _session(path: Path, radius: int | None) -> ort.InferenceSession:
    graph = Graph()
    inputs = RaggedInputs(graph, (HEADS + 2) * HEAD)
    sizes = graph.constant(np.array([HEADS * HEAD, HEAD, HEAD]))
    q, k, v = graph.ops("Split", inputs.embeddings, sizes, outputs=3, axis=-1)
    graph.save(path, {"vectors": inputs.pool(inputs.attend(q, k, v, HEADS, HEAD, 0.3, radius))})
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def _attend(rows: np.ndarray, radius: int | None) -> np.ndarray:
    """The same by the formula, in float64."""
    q, k, v = np.split(rows.astype(np.float64), [HEADS * HEAD, (HEADS + 1) * HEAD], axis=1)
    places = np.arange(len(rows))
    seen = np.abs(places[:, None] - places) <= (len(rows) if radius is None else radius)
    mixed = []
    for head in np.split(q, HEADS, axis=1):
        weights = np.exp(0.3 * head @ k.T) * seen
        mixed.append(weights / weights.sum(axis=1, keepdims=True) @ v)
    return np.hstack(mixed)


def _ids(length: int) -> np.ndarray:
    return np.random.default_rng(length).integers(0, 64, length)


@pytest.mark.parametrize("length", [1, 16, 24, 25, 26, 49, 50, 127, 128, 303, 304, 305, 320, 383, 384, 385, 1000])
def test_a_token_sees_what_its_layer_lets_it_see(attention, length: int) -> None:
    found, expected = attention(_ids(length))

    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("lengths", [(5, 16, 1, 9), (99, 112, 100), (385, 400, 390, 399)])
def test_texts_of_one_padded_length_do_not_see_each_other(attention, lengths: tuple[int, ...]) -> None:
    texts = [_ids(length) for length in lengths]

    found, expected = attention(*texts)

    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found, np.vstack([attention(text)[0] for text in texts]), atol=1e-6)


def test_the_work_of_a_window_grows_with_the_length_alone() -> None:
    scores = [attention_blocks(np.array([length]), 256).bias.size for length in (1024, 2048, 4096, 8192)]

    assert [after / before for before, after in pairwise(scores)] == [2, 2, 2]


def test_a_short_text_is_one_block_without_a_mask_of_its_own() -> None:
    blocks = attention_blocks(np.array([200]), 256)

    assert blocks.queries.shape == blocks.keys.shape == (1, 208)
    assert blocks.bias.shape == (1, 1, 208)
