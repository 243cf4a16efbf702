"""Compares the tokens that the onnx engine reads with those that SentenceTransformer feeds its model."""

from collections.abc import Iterator, Mapping

from embedding.model.engine import Task
from embedding.model.errors import UnsupportedModel
from embedding.model.prepare.fidelity import sentences
from embedding.model.prepare.original import Original
from embedding.model.tokenizer import Tokenizer

MOST_ADDED_TOKENS = 200
# Tokens of a limit up to which texts beyond it are compared: longer ones take seconds each.
LONGEST_TEXT = 200_000
ODD_TEXTS = {
    "no text": "",
    "spaces alone": "   ",
    "leading and trailing spaces": "  a text  ",
    "several spaces": "a  text   with    spaces",
    "tabs and line ends": "a\tb\nc\r\nd\re\n\n\nf",
    "a control character": "a\x07b\x1b[0m\x7f",
    "a NUL character": "a\x00b",
    "capitals": "Capital LETTERS, İstanbul, straße, ΣΊΣΥΦΟΣ",
    "accents, composed": "é ü ñ ṩ Å ệ",
    "accents, decomposed": "e\u0301 u\u0308 n\u0303 s\u0323\u0307 A\u030a",
    "combining marks alone": "\u0301\u0308\u0327",
    "stacked combining marks": "Z\u0351\u036b\u0343a\u0320\u0330l\u0321g\u0326\u0331o",
    "zero-width characters": "a\u200bb\u200cc\u200dd\ufeffe\u2060f",
    "joined emoji": "👩🏽‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 1️⃣",
    "writing from right to left": "مرحبا بالعالم שלום \u202eabc\u202c",
    "scripts without spaces": "量子纠缠与信息论。ภาษาไทยไม่มีช่องว่าง にほんご",
    "Indic scripts": "क्षत्रिय தமிழ் বাংলা",
    "Hangul, composed and decomposed": "한국어 \u1112\u1161\u11ab",
    "compatibility characters": "ﬁ ℌ ① Ａｂｃ ㎏ ² ½ …",
    "spaces of other kinds": "a\u00a0b\u2003c\u3000d\u2028e\u0085f",
    "characters at the edges of Unicode": "\ud7ff\ue000\ufffd\U00010000\U0010ffff",
    "soft hyphens": "soft\u00adhyphen",
    "numbers and signs": "3.14159 1,000,000 $5 50% a+b=c x_1 #tag @user C++ <b>&amp;</b>",
    "an address": "https://example.org/a/b?c=d&e=%20f#g user@example.org",
    "code": "def f(x):\n    return x ** 2  # comment",
    "a long word": "a" * 300,
    "a word marker": "▁a ##b Ġc </w>d",
}


def check_tokens(original: Original, tokenizers: Mapping[Task, Tokenizer]) -> None:
    """Raises UnsupportedModel where `tokenizers` read a text otherwise than `original`; names the kind of text."""
    for task, tokenizer in tokenizers.items():
        for kind, text in _texts(original, tokenizer):
            (ours,) = tokenizer.tokenize([text])
            if list(ours.ids) != original.token_ids(task, text):
                raise UnsupportedModel(
                    f"the onnx engine does not support the model's tokenizer: for {kind}, as a {task}, its tokens are "
                    "not those that SentenceTransformer reads"
                )


def text_of(tokenizer: Tokenizer, tokens: int) -> str:
    """A text of about as many tokens, without its prompt."""
    once = " ".join(sentences()[1]) + " "
    starts = tokenizer.token_starts(once)
    whole, left = divmod(tokens, max(1, len(starts)))
    return once * whole + once[: starts[left] if starts else None]


def _texts(original: Original, tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """What to compare: odd texts, added tokens spelled out, and texts of about as many tokens as the model reads."""
    yield from ODD_TEXTS.items()
    yield from (("a plain sentence", text) for text in sentences()[0])
    added = list(original.checkpoint.backend_tokenizer.get_added_tokens_decoder().values())
    for token in added[: MOST_ADDED_TOKENS // 2] + added[-MOST_ADDED_TOKENS // 2 :]:
        kind = "a special token that is spelled out" if token.special else "an added token"
        yield kind, f"a {token.content} b{token.content}c {token.content.upper()}{token.content}"
    limit = tokenizer.max_tokens
    if limit is None or limit > LONGEST_TEXT:
        return
    yield "a text far beyond the limit", text_of(tokenizer, 2 * limit)
    (prompt,) = tokenizer.tokenize([""])
    for tokens in range(max(0, limit - prompt.total - 2), max(0, limit - prompt.total + 3)):
        yield "a text of about as many tokens as the limit", text_of(tokenizer, tokens)
