"""Texts far beyond the model's limit: what is read of them gives the tokens of the whole."""

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from embedding.model.fetch.manifest import TokenizerSettings
from embedding.model.tokenizer import Tokenizer

LIMIT = 192
PROMPT = "task: search result | query: "
CORPUS = [Path(__file__).read_text(), PROMPT, "aaaa bbbb !?!?!? ===== " * 20, "  " * 40]


def word_pieces(demo: Path, _gemma: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(demo / "tokenizer.json"))


def bytes_in_words(_demo: Path, gemma: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(gemma / "tokenizer.json"))


def pairs_over_the_whole_text(_demo: Path, _gemma: Path) -> tokenizers.Tokenizer:
    """As Gemma's: spaces become ▁, and merges run over the whole text; what is unknown comes as bytes."""
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    learned = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    learned.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<unk>", "<bos>", *alphabet], show_progress=False)
    learned.train_from_iterator(CORPUS, trainer)
    learned.model.byte_fallback = True
    return with_ends(learned)


def unigrams(_demo: Path, _gemma: Path) -> tokenizers.Tokenizer:
    learned = tokenizers.Tokenizer(models.Unigram())
    learned.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    learned.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<bos>"], unk_token="<unk>", show_progress=False
    )
    learned.train_from_iterator(CORPUS, trainer)
    return with_ends(learned)


def with_ends(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return tokenizer


BACKENDS: list[Callable[[Path, Path], tokenizers.Tokenizer]] = [
    word_pieces,
    bytes_in_words,
    pairs_over_the_whole_text,
    unigrams,
]


@pytest.fixture(params=BACKENDS, ids=lambda make: make.__name__)
def backend(request: pytest.FixtureRequest, demo_model: Path, tiny_gemma: Path) -> tokenizers.Tokenizer:
    made: tokenizers.Tokenizer = request.param(demo_model, tiny_gemma)
    return made


def scrambled(alphabet: str, seed: int) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=50_000))


TEXTS = {
    "marks": "!?" * 50_000,
    "one letter": "a" * 100_000,
    "one word": scrambled("abcdefghijklmnopqrstuvwxyz", 1),
    "words of a hundred letters": ("a" * 100 + " ") * 1000,
    "words of a hundred and one letters": ("b" * 101 + " ") * 1000,
    "spaces": " " * 100_000,
    "spaces, then a word": " " * 100_000 + "end",
    "words far apart": ("word" + " " * 5_000) * 20,
    "emoji": "😀👩‍👩‍👧" * 10_000,
    "NUL": "\0" * 100_000,
    "NUL and letters": "a\0" * 50_000,
    "combining marks": "e" + "\u0301" * 50_000,
    "letters that become many": "ﷺ" * 20_000,
    "lines": "line\n" * 20_000,
    "plain": "The quick brown fox jumps over the lazy dog, as ever. " * 2_000,
    "letters of many scripts": scrambled("aбγ字あ한ة ", 2),
    "letters and spaces": scrambled("ab  ", 3),
    "marks and spaces": scrambled("!?=-#  \n", 4),
    "bytes": scrambled("".join(map(chr, range(1, 0x300))), 5),
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_long_text_has_the_tokens_that_it_has_when_it_is_read_whole(
    backend: tokenizers.Tokenizer, text: str, side: str
) -> None:
    whole = deepcopy(backend)
    whole.no_padding()
    whole.enable_truncation(LIMIT, direction=side)
    expected = whole.encode(PROMPT + text)
    tokenizer = Tokenizer(backend, "query", PROMPT, TokenizerSettings(LIMIT, side))

    (read,) = tokenizer.tokenize([text])

    assert list(read.ids) == expected.ids
    assert read.kept == len(expected.ids)
    assert read.truncated == bool(expected.overflowing)
    assert read.total <= len(expected.ids) + sum(len(part) for part in expected.overflowing)
    assert whole.encode(PROMPT + read.text).ids == expected.ids  # as torch reads it


def test_no_more_is_read_of_a_long_text_than_the_model_needs(backend: tokenizers.Tokenizer) -> None:
    if isinstance(backend.model, tokenizers.models.Unigram):
        pytest.skip("a unigram model weighs a text as a whole")
    tokenizer = Tokenizer(backend, "query", PROMPT, TokenizerSettings(LIMIT))

    for text in ("!?" * 1_000_000, "The quick brown fox. " * 100_000):
        (read,) = tokenizer.tokenize([text])
        assert read.at_least
        assert LIMIT == read.kept < read.total
        assert len(read.text) < 40_000


def test_texts_of_all_lengths_keep_their_order(backend: tokenizers.Tokenizer) -> None:
    texts = ["one", "!?" * 20_000, "two words", " " * 50_000 + "end", ""]
    tokenizer = Tokenizer(backend, "query", PROMPT, TokenizerSettings(LIMIT))

    assert tokenizer.tokenize(texts) == [tokenizer.tokenize([text])[0] for text in texts]


def test_without_a_limit_all_is_read(backend: tokenizers.Tokenizer) -> None:
    tokenizer = Tokenizer(backend, "query", PROMPT, TokenizerSettings(None))

    (read,) = tokenizer.tokenize(["!?" * 20_000])

    assert (read.text, read.total, read.at_least) == ("!?" * 20_000, read.kept, False)
