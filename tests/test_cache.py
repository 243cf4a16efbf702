"""Vectors that are kept for texts that come again."""

import sys

import numpy as np
import pytest

from embedding.model import TokenizedText
from embedding.serving.cache import Cache, Keys

TOKENS = TokenizedText("a text", "query", 3, 3, ids=[1, 2, 3])


def vector(number: float = 0.0) -> np.ndarray:
    return np.full(768, number, np.float32)


def test_what_was_put_is_found_without_its_text() -> None:
    cache = Cache(10_000)
    cache.put(b"key", vector(7), TOKENS)

    found = cache.get(b"key")

    assert found is not None
    assert found.vector.tolist() == vector(7).tolist()
    assert (found.tokens.total, found.tokens.text, found.tokens.ids) == (3, "", ())
    assert cache.get(b"other") is None


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(3 * 3572)
    for key in (b"a", b"b", b"c"):
        cache.put(key, vector(), TOKENS)
    cache.get(b"a")
    cache.put(b"d", vector(), TOKENS)

    assert [key for key in (b"a", b"b", b"c", b"d") if cache.get(key)] == [b"a", b"c", b"d"]


def test_no_more_is_kept_than_its_bytes() -> None:
    cache = Cache(100_000)
    for number in range(1000):
        cache.put(str(number % 70).encode(), vector(number), TOKENS)

    assert len(cache) == 100_000 // 3572
    assert cache.bytes == len(cache) * 3572


@pytest.mark.parametrize("limit", [0, 100])
def test_a_cache_without_room_keeps_nothing(limit: int) -> None:
    cache = Cache(limit)
    cache.put(b"key", vector(), TOKENS)

    assert (cache.get(b"key"), cache.bytes) == (None, 0)


def test_an_entry_is_no_larger_than_it_is_counted() -> None:
    cache = Cache(10_000)
    key = b"0123456789abcdef"
    cache.put(key, vector(), TokenizedText("", "query", 1000, 1000))
    found = cache.get(key)
    assert found is not None

    parts = (key, found, found.vector, found.tokens, found.tokens.total, found.tokens.kept)
    link = 120  # of an ordered dictionary, with its share of the table

    assert sum(map(sys.getsizeof, parts)) + link <= cache.bytes


def test_all_that_changes_a_vector_changes_the_key() -> None:
    keys = Keys()
    told_apart = [
        *keys.of(["text", "Text", "text ", "query text", ""], "query", None),
        *keys.of(["text"], "document", None),
        *keys.of(["text"], "query", ""),
        *keys.of(["text"], "query", "te"),
        *keys.of(["xt"], "query", "te"),
        *keys.of(["xt"], "query", " te"),
    ]

    assert len(set(told_apart)) == len(told_apart)
    assert keys.of(["text"], "query", None) == keys.of(["text"], "query", None)


def test_keys_of_another_process_are_other_keys() -> None:
    assert Keys().of(["text"], "query", None) != Keys().of(["text"], "query", None)
