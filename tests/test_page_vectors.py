"""What the page computes in the browser agrees with NumPy."""

from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.browser import url, visiting


@pytest.fixture(scope="module")
def compute(demo: httpx.Client, browser: Browser) -> Any:
    """Calls a function of vectors.js."""
    with visiting(browser, url(demo)) as visit:
        visit.page.goto(visit.url)
        yield lambda name, *arguments: visit.page.evaluate(
            "async ([name, arguments_]) => (await import('/page/vectors.js'))[name](...arguments_)", [name, arguments]
        )


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_a_cut_vector_has_length_one_again(compute: Any) -> None:
    vector = np.random.default_rng(0).normal(size=64)

    np.testing.assert_allclose(compute("cut", vector.tolist(), 16), unit(vector[:16]))


def test_similarities_are_cosines(compute: Any) -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(5, 8)))

    np.testing.assert_allclose(compute("similarities", vectors.tolist()), vectors @ vectors.T, atol=1e-12)


def test_the_plane_keeps_the_distances_of_what_is_flat(compute: Any) -> None:
    angles = np.array([0.1, 0.8, 2.0, 3.1, 4.5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    found = compute("plane", (vectors @ vectors.T).tolist())

    def distances(points: Any) -> Any:
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    np.testing.assert_allclose(distances(np.array(found["points"])), distances(vectors), atol=1e-6)
    assert found["share"] == pytest.approx(1)


def test_the_plane_shows_as_much_as_the_first_two_principal_components(compute: Any) -> None:
    vectors = unit(np.random.default_rng(2).normal(size=(7, 20)))
    centred = vectors - vectors.mean(axis=0)
    strengths = np.linalg.svd(centred, compute_uv=False) ** 2

    found = compute("plane", (vectors @ vectors.T).tolist())

    assert found["share"] == pytest.approx(strengths[:2].sum() / strengths.sum(), abs=1e-4)
    assert found == compute("plane", (vectors @ vectors.T).tolist())


def test_equal_texts_share_a_point(compute: Any) -> None:
    assert compute("plane", [[1, 1], [1, 1]]) == {"points": [[0, 0], [0, 0]], "share": 1}


def test_a_turned_and_mirrored_map_is_turned_back(compute: Any) -> None:
    target = np.random.default_rng(3).normal(size=(6, 2))
    c, s = np.cos(2.2), np.sin(2.2)
    points = target @ np.array([[c, s], [-s, c]]) * [1, -1]

    np.testing.assert_allclose(compute("aligned", points.tolist(), target.tolist()), target, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 20, 30], 1),
        ([1, 2, 3], [3, 2, 1], -1),
        ([1, 1, 2], [1, 2, 3], 0.8660254),
        ([1], [2], 1),
        ([1, 1, 1], [2, 2, 2], 1),
    ],
)
def test_ranks_are_correlated(one: list[float], other: list[float], expected: float, compute: Any) -> None:
    assert compute("rankCorrelation", one, other) == pytest.approx(expected)


def test_a_model_s_own_widths_are_offered_else_halvings(compute: Any) -> None:
    assert compute("cuts", [128, 768, 256, 512]) == [768, 512, 256, 128]
    assert compute("cuts", [384]) == [384, 192, 96, 48]
