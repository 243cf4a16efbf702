"""Compares the tokens that the onnx engine reads with those that SentenceTransformer feeds its model."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from embedding.model.engine import Task
from embedding.model.errors import UnsupportedModel
from embedding.model.prepare.fidelity import sentences
from embedding.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# What one text may bring along beside its ids; the graphs take every token's type to be 0.
FEATURES = {"input_ids", "attention_mask", "token_type_ids", "modality", "prompt_length"}
MOST_ADDED_TOKENS = 200
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


def check_tokens(model: "SentenceTransformer", tokenizers: Mapping[Task, Tokenizer]) -> None:
    """Raises UnsupportedModel where `tokenizers` read a text otherwise than `model`; names the kind of text."""
    for task, tokenizer in tokenizers.items():
        for kind, text in _texts(model, tokenizer):
            (ours,) = tokenizer.tokenize([text])
            if list(ours.ids) != _model_ids(model, task, text):
                raise UnsupportedModel(
                    f"the model's tokenizer gives other tokens in SentenceTransformer for {kind}, as a {task}; it is "
                    "not supported by the onnx engine"
                )


def text_beyond(tokenizer: Tokenizer) -> str:
    """A text that is longer than the model's limit by half."""
    assert tokenizer.max_tokens is not None
    whole = " ".join(sentences()[1])
    while len(tokenizer.token_starts(whole)) < 1.5 * tokenizer.max_tokens:
        whole += " " + whole
    starts = tokenizer.token_starts(whole)
    return whole[: starts[min(len(starts) - 1, int(1.5 * tokenizer.max_tokens))]]


def _texts(model: "SentenceTransformer", tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """What to compare: odd texts, added tokens spelled out, and texts of about as many tokens as the model reads."""
    yield from ODD_TEXTS.items()
    yield from (("a plain sentence", text) for text in sentences()[0])
    added: dict[int, Any] = model.tokenizer.added_tokens_decoder
    for token in list(added.values())[: MOST_ADDED_TOKENS // 2] + list(added.values())[-MOST_ADDED_TOKENS // 2 :]:
        kind = "a special token that is spelled out" if token.special else "an added token"
        yield kind, f"a {token.content} b{token.content}c {token.content.upper()}{token.content}"
    if tokenizer.max_tokens is None:
        return
    long = text_beyond(tokenizer)
    yield "a text far beyond the limit", long
    prompt = tokenizer.tokenize([""])[0].total
    starts = tokenizer.token_starts(long)
    for tokens in range(tokenizer.max_tokens - prompt - 2, tokenizer.max_tokens - prompt + 3):
        if 0 < tokens < len(starts):
            yield "a text of about as many tokens as the limit", long[: starts[tokens]]


class _Reached(Exception):
    """Ends a call of the model before it computes: the features are all that is asked for."""

    def __init__(self, features: dict[str, Any]) -> None:
        super().__init__()
        self.features = features


def _stop(_model: Any, inputs: tuple[dict[str, Any]]) -> None:
    raise _Reached(inputs[0])


def _model_ids(model: "SentenceTransformer", task: Task, text: str) -> list[int] | None:
    """The ids that reach the model's first module from encode_query or encode_document; None where more than ids do."""
    hook = model.register_forward_pre_hook(_stop)
    try:
        (model.encode_query if task == "query" else model.encode_document)(text, show_progress_bar=False)
    except _Reached as reached:
        features = reached.features
    finally:
        hook.remove()
    read = features["attention_mask"][0].bool()
    types = features.get("token_type_ids")
    if not set(features) <= FEATURES or (types is not None and bool(types[0][read].any())):
        return None
    ids: list[int] = features["input_ids"][0][read].long().tolist()
    return ids
