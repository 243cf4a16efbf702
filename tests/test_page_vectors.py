"""What the page computes in the browser agrees with NumPy."""

from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.browser import url, visiting

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def compute(demo: httpx.Client, browser: Browser) -> Any:
    """Calls a function of vectors.js or layout.js."""
    with visiting(browser, url(demo)) as visit:
        visit.page.goto(visit.url)
        yield lambda name, *arguments: visit.page.evaluate(
            "async ([name, arguments_]) => { const modules = await Promise.all("
            "['vectors', 'layout'].map((one) => import(`/page/${one}.js`)));"
            " const found = modules.find((one) => name in one)[name](...arguments_);"
            " return found.next ? [...found].at(-1) : found }",
            [name, arguments],
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


@pytest.mark.parametrize(("format", "least"), [("float32", 1), ("int8", 0.999), ("binary", 0.7)])
def test_fewer_bits_point_nearly_the_same_way(format: str, least: float, compute: Any) -> None:
    vector = unit(np.random.default_rng(4).normal(size=64))
    expected = unit(np.sign(vector)) if format == "binary" else vector

    short = np.array(compute("shorten", vector.tolist(), 64, format))

    assert np.linalg.norm(short) == pytest.approx(1)
    assert short @ vector >= least - 1e-9
    np.testing.assert_allclose(short, expected, atol=0.01)


def test_a_map_keeps_groups_together_and_is_the_same_each_time(compute: Any) -> None:
    rng = np.random.default_rng(5)
    centres = unit(rng.normal(size=(3, 50)))
    vectors = unit(np.repeat(centres, 12, axis=0) + 0.05 * rng.normal(size=(36, 50))).tolist()

    points = np.array(compute("neighbourhood", vectors))

    far = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag([np.inf] * 36)
    assert (far.argsort(axis=1)[:, :5] // 12 == np.arange(36)[:, None] // 12).all()
    assert points.tolist() == compute("neighbourhood", vectors)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_map_of_a_few_has_a_place_for_each(count: int, compute: Any) -> None:
    vectors = np.eye(8)[[0, 0, 1, 2, 3][:count]].tolist()

    points = np.array(compute("neighbourhood", vectors))

    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_a_query_lies_among_the_documents_nearest_to_it(compute: Any) -> None:
    points = [[0, 0], [1, 0], [0, 1], [50, 50], [60, 60]]

    x, y = compute("amid", points, [0.9, 0.8, 0.8, 0.1, 0.1])

    assert 0 <= x <= 1
    assert 0 <= y <= 1


def test_a_model_s_own_widths_are_offered_else_halvings(compute: Any) -> None:
    assert compute("cuts", [128, 768, 256, 512]) == [768, 512, 256, 128]
    assert compute("cuts", [384]) == [384, 192, 96, 48]
