"""Small model folders, each with one setting that an engine could overlook.

A folder is a copy of one of a few base models, with a change to its files: as its author would have left it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import (
    BoW,
    Dropout,
    Pooling,
    StaticEmbedding,
    WordEmbeddings,
)
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

DIMENSION = 32
MAX_TOKENS = 40
VOCABULARY = 300
PROMPTS = {"query": "query: ", "document": "text: "}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OLD_NAMES = ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"]

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """A model folder: its base, what is changed, and the setting that the onnx engine refuses, if it does."""

    base: str
    change: Change = lambda folder: None
    refused: str | None = None


def edit(file: str, **changes: Any) -> Change:
    """Sets keys of a JSON file, which is made where it's missing; None takes a key out."""

    def change(folder: Path) -> None:
        path = folder / file
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({key: value for key, value in {**old, **changes}.items() if value is not None}))

    return change


def sentence_config(**changes: Any) -> Change:
    return edit("sentence_bert_config.json", **changes)


def both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def remove(file: str) -> Change:
    return lambda folder: (folder / file).unlink()


def rename(file: str, to: str) -> Change:
    return lambda folder: (folder / file).rename(folder / to)


def prompts(**names: str | None) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config_sentence_transformers.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"prompts": names}))

    return change


def grow_vocabulary(folder: Path) -> None:
    """Gives the encoder vectors for tokens that its tokenizer does not have."""
    weights(lambda model: model.resize_token_embeddings(len(vocabulary()) + 8, mean_resizing=False).weight.normal_())(
        folder
    )


def weights(change: Callable[[Any], object]) -> Change:
    """Changes the encoder's weights."""

    def write(folder: Path) -> None:
        model = AutoModel.from_pretrained(folder)
        with torch.no_grad():
            change(model)
        model.save_pretrained(folder)

    return write


def without_weights(*names: str) -> Change:
    """Takes tensors out of the encoder's file."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file({name: value for name, value in load_file(path).items() if name not in names}, path, {"format": "pt"})

    return change


def tokenizer_json(**changes: Any) -> Change:
    return edit("tokenizer.json", **changes)


def save_as_masked_language_model(folder: Path) -> None:
    """Keeps the weights as many a hub folder does: under `bert.`, in bfloat16, in shards."""
    from transformers import BertForMaskedLM

    encoder = BertModel.from_pretrained(folder)
    model = BertForMaskedLM(encoder.config)
    model.bert.load_state_dict(encoder.state_dict(), strict=False)
    (folder / "model.safetensors").unlink()
    model.bfloat16().save_pretrained(folder, max_shard_size="20KB")


def vocabulary_alone(folder: Path) -> None:
    """Leaves the tokenizer as a slow one of old has it: a list of words and a class."""
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary()))
    edit("tokenizer_config.json", tokenizer_class="BertTokenizer", backend=None)(folder)


ADDED = {"content": "zebra", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
KINDS: dict[str, Kind] = {
    "bert, mean": Kind("bert"),
    "bert, cls, not normalized": Kind("bert cls"),
    "bert, dense": Kind("bert dense"),
    "bert, two linear layers": Kind("bert linear"),
    "gemma": Kind("gemma"),
    # prompts
    "e5 prompts": Kind("bert", prompts(query="query: ", passage="passage: ")),
    "a corpus prompt": Kind("bert", prompts(corpus="corpus: ")),
    "no prompts": Kind("bert", remove("config_sentence_transformers.json")),
    "a null prompt": Kind("bert", prompts(query="query: ", document=None)),
    "default_prompt_name": Kind(
        "bert", edit("config_sentence_transformers.json", prompts={"a": "other: "}, default_prompt_name="a")
    ),
    "a prompt with spaces": Kind("bert", prompts(query="  query:  ", document="[SEP] ")),
    # limits
    "truncation_side": Kind("bert", edit("tokenizer_config.json", truncation_side="left")),
    "query_length": Kind("bert", sentence_config(query_length=9, document_length=21)),
    "document_length alone": Kind("bert", sentence_config(document_length=12)),
    **{
        f"sentence_{name}_config.json": Kind(
            "bert",
            both(
                sentence_config(max_seq_length=11, do_lower_case=True),
                rename("sentence_bert_config.json", f"sentence_{name}_config.json"),
            ),
        )
        for name in OLD_NAMES
    },
    "tokenizer_args": Kind("bert", sentence_config(tokenizer_args={"model_max_length": 13})),
    "processor_kwargs": Kind("bert", sentence_config(processor_kwargs={"model_max_length": 13})),
    "max_length of processing_kwargs": Kind("bert", sentence_config(processing_kwargs={"text": {"max_length": 14}})),
    "max_length for all": Kind("bert", sentence_config(processing_kwargs={"common": {"max_length": 14}})),
    "no max_seq_length": Kind("bert", sentence_config(max_seq_length=None)),
    "max_seq_length above the table of positions": Kind("bert", sentence_config(max_seq_length=400)),
    "no limit but the table of positions": Kind(
        "bert", both(sentence_config(max_seq_length=None), edit("tokenizer_config.json", model_max_length=None))
    ),
    "truncation off": Kind("bert", sentence_config(processing_kwargs={"text": {"truncation": False}})),
    "truncation in tokenizer.json": Kind(
        "bert",
        tokenizer_json(
            truncation={"direction": "Left", "max_length": 12, "strategy": "LongestFirst", "stride": 2},
            padding={
                **{"strategy": {"Fixed": 16}, "direction": "Left", "pad_to_multiple_of": 8},
                **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            },
        ),
    ),
    "gemma beyond max_position_embeddings": Kind("gemma", sentence_config(max_seq_length=90)),
    # tokens
    "split_special_tokens": Kind("bert", edit("tokenizer_config.json", split_special_tokens=True)),
    "split_special_tokens of processing_kwargs": Kind(
        "bert", sentence_config(processing_kwargs={"text": {"split_special_tokens": True}})
    ),
    "no special tokens": Kind("bert", sentence_config(processing_kwargs={"text": {"add_special_tokens": False}})),
    "added_tokens_decoder": Kind(
        "bert",
        both(
            grow_vocabulary,
            edit("tokenizer_config.json", added_tokens_decoder={str(VOCABULARY): {**ADDED, "special": False}}),
        ),
    ),
    "added_tokens.json": Kind("bert", both(grow_vocabulary, edit("added_tokens.json", zebra=VOCABULARY))),
    "extra special tokens": Kind(
        "bert", both(grow_vocabulary, edit("tokenizer_config.json", additional_special_tokens=["zebra"]))
    ),
    "do_lower_case": Kind("bert cased", sentence_config(do_lower_case=True)),
    "do_lower_case of the tokenizer": Kind("bert cased", edit("tokenizer_config.json", do_lower_case=True)),
    "a cased tokenizer": Kind("bert cased"),
    "padding_side": Kind("bert", edit("tokenizer_config.json", padding_side="left")),
    "padding to the limit": Kind("bert", sentence_config(processing_kwargs={"text": {"padding": "max_length"}})),
    "padding to the limit from the left": Kind(
        "bert",
        both(
            sentence_config(processing_kwargs={"text": {"padding": "max_length"}}),
            edit("tokenizer_config.json", padding_side="left"),
        ),
        refused="padding_side",
    ),
    "a tokenizer class that builds its rules anew": Kind(
        "bert",
        edit("tokenizer_config.json", tokenizer_class="BertTokenizer", backend=None, do_lower_case=False),
    ),
    "vocab.txt alone": Kind("bert", vocabulary_alone),
    "vocab.txt with options": Kind(
        "bert",
        both(
            vocabulary_alone,
            edit("tokenizer_config.json", strip_accents=False, tokenize_chinese_chars=False, do_lower_case=False),
        ),
    ),
    "add_bos_token and add_eos_token": Kind(
        "gemma", edit("tokenizer_config.json", add_bos_token=True, add_eos_token=False)
    ),
    "add_prefix_space": Kind("gemma", edit("tokenizer_config.json", add_prefix_space=True)),
    "other special tokens": Kind("bert", edit("tokenizer_config.json", unk_token="[MASK]", sep_token="the")),
    "token types that are left out": Kind("bert types"),
    "token types": Kind(
        "bert types",
        edit("tokenizer_config.json", model_input_names=["input_ids", "token_type_ids", "attention_mask"]),
        refused="token_type_ids",
    ),
    # the encoder
    "layer_norm_eps left out": Kind("bert", edit("config.json", layer_norm_eps=None)),
    "another layer_norm_eps": Kind("bert", edit("config.json", layer_norm_eps=1e-2)),
    "hidden_act": Kind("bert", edit("config.json", hidden_act="relu"), refused="activation relu"),
    "gelu_new": Kind("bert", edit("config.json", hidden_act="gelu_new"), refused="activation gelu_new"),
    "config_args": Kind("bert", sentence_config(config_args={"hidden_act": "gelu_new"}), refused="activation gelu_new"),
    "float16 of model_args": Kind("bert", sentence_config(model_args={"torch_dtype": "float16"})),
    "relative positions": Kind(
        "bert", edit("config.json", position_embedding_type="relative_key"), refused="position_embedding_type"
    ),
    "causal attention": Kind("bert", edit("config.json", is_causal=True), refused="is_causal"),
    "a decoder": Kind("bert", edit("config.json", is_decoder=True), refused="is_decoder"),
    "no weights for the pooler": Kind("bert", without_weights("pooler.dense.weight", "pooler.dense.bias")),
    "weights of a language model": Kind("bert", save_as_masked_language_model),
    "causal gemma": Kind(
        "gemma", edit("config.json", use_bidirectional_attention=False), refused="use_bidirectional_attention"
    ),
    "scaled rotary embedding": Kind(
        "gemma",
        edit("config.json", rope_parameters=None, rope_scaling={"rope_type": "linear", "factor": 8.0}),
        refused="scaled rotary embedding",
    ),
    "rotary embedding as in transformers 4": Kind(
        "gemma", edit("config.json", rope_parameters=None, rope_theta=5e5, rope_local_base_freq=2e4)
    ),
    "an odd window": Kind("gemma", edit("config.json", sliding_window=15)),
    "other layer types": Kind("gemma", edit("config.json", layer_types=["full_attention", "sliding_attention"])),
    "capped attention": Kind("gemma", edit("config.json", attn_logit_softcapping=5.0), refused="softcapping"),
    "query_pre_attn_scalar": Kind("gemma", edit("config.json", query_pre_attn_scalar=64)),
    # what follows it
    "truncate_dim": Kind("bert", edit("config_sentence_transformers.json", truncate_dim=12)),
    "truncate_dim above the dimension": Kind("bert", edit("config_sentence_transformers.json", truncate_dim=99)),
    "similarity_fn_name": Kind("bert", edit("config_sentence_transformers.json", similarity_fn_name="euclidean")),
    "max pooling": Kind("bert", edit("1_Pooling/config.json", pooling_mode="max"), refused="pooling 'max'"),
    "last token": Kind("bert", edit("1_Pooling/config.json", pooling_mode="lasttoken"), refused="pooling 'lasttoken'"),
    "two poolings": Kind(
        "bert", edit("1_Pooling/config.json", pooling_mode=["cls", "mean"]), refused=r"pooling \('cls', 'mean'\)"
    ),
    "include_prompt": Kind("bert", edit("1_Pooling/config.json", include_prompt=False), refused="include_prompt"),
    "dense with GELU": Kind(
        "bert dense",
        edit("2_Dense/config.json", activation_function="torch.nn.modules.activation.GELU"),
        refused="a Dense layer with GELU",
    ),
    "dense with an activation that is not trusted": Kind(
        "bert dense", edit("2_Dense/config.json", activation_function="numpy.tanh")
    ),
    "dense with a residual": Kind("bert dense", edit("2_Dense/config.json", use_residual=True), refused="a residual"),
    "query_expansion": Kind(
        "bert",
        sentence_config(query_expansion={"strategy": "fixed", "attend": True, "length": 16, "token": "[MASK]"}),
        refused="query_expansion",
    ),
    "a chat template": Kind(
        "bert",
        both(
            sentence_config(
                modality_config={
                    name: {"method": "forward", "method_output_name": "last_hidden_state"}
                    for name in ("text", "message")
                },
                module_output_name="token_embeddings",
            ),
            edit(
                "tokenizer_config.json",
                chat_template="{% for message in messages %}the {{ message['content'] }} of{% endfor %}",
            ),
        ),
        refused="a chat template",
    ),
    "no modules.json": Kind("bert", remove("modules.json")),
    # other kinds of model
    "roberta": Kind("roberta", refused="a roberta encoder"),
    "mpnet": Kind("mpnet", refused="a mpnet encoder"),
    "distilbert": Kind("distilbert", refused="a distilbert encoder"),
    "static": Kind("static", refused="the modules StaticEmbedding"),
    "static, truncated": Kind("static truncated", refused="the modules StaticEmbedding"),
    "router": Kind("router", refused="the modules Router"),
    "router after pooling": Kind("router after pooling", refused="the modules Transformer → Pooling → Router"),
    "bag of words": Kind("words", refused="the modules BoW"),
    "word embeddings": Kind("glove", refused="the modules WordEmbeddings"),
    "dropout": Kind("dropout", refused="the modules Transformer → Pooling → Dropout"),
}


def write_kind(kind: Kind, bases: Path, folder: Path) -> Path:
    """Write the folder of a kind, from its base, which is made under `bases` once."""
    base = bases / kind.base
    if not base.exists():
        BASES[kind.base](base)
    shutil.copytree(base, folder)
    kind.change(folder)
    return folder


@cache
def wordpiece(lower: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([Path(__file__).read_text(), "query: text: passage: corpus:"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def vocabulary() -> list[str]:
    words = wordpiece().get_vocab()
    return sorted(words, key=words.__getitem__)


def _fast(tokenizer: Tokenizer, **names: str) -> PreTrainedTokenizerFast:
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **{**marks, **names})


@contextmanager
def _transformer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, **options: Any
) -> Iterator[Transformer]:
    torch.manual_seed(len(folder.name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5)
    parts = folder.with_name(f"{folder.name} parts")
    model.save_pretrained(parts)
    tokenizer.save_pretrained(parts)
    yield Transformer(str(parts), **{"max_seq_length": MAX_TOKENS, **options})
    shutil.rmtree(parts)


def _save(folder: Path, *modules: torch.nn.Module) -> None:
    SentenceTransformer(modules=list(modules), prompts=PROMPTS, device="cpu").save(str(folder), create_model_card=False)


SIZES = {"hidden_size": DIMENSION, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def _bert(*more: torch.nn.Module, pooling: str = "mean", tokenizer: Tokenizer | None = None) -> Change:
    def write(folder: Path) -> None:
        config = BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **SIZES)
        with _transformer(BertModel(config), _fast(tokenizer or wordpiece()), folder) as transformer:
            _save(folder, transformer, Pooling(DIMENSION, pooling), *more)

    return write


def _with_token_types() -> Tokenizer:
    tokenizer = Tokenizer.from_str(wordpiece().to_str())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A:1 [SEP]:1", pair="$A $B", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _encoder(model: type[PreTrainedModel], config: Any) -> Change:
    def write(folder: Path) -> None:
        with _transformer(model(config), _fast(wordpiece()), folder, max_seq_length=None) as transformer:
            _save(folder, transformer, Pooling(DIMENSION, "mean"), Normalize())

    return write


def _gemma(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        **{**SIZES, "num_attention_heads": 2},
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=16,
        max_position_embeddings=64,
        layer_types=["sliding_attention", "full_attention"],
        use_bidirectional_attention=True,
    )
    linear = {"bias": False, "activation_function": torch.nn.Identity()}
    with _transformer(Gemma3TextModel(config), fast, folder) as transformer:
        _save(
            folder,
            transformer,
            Pooling(DIMENSION, "mean"),
            Dense(DIMENSION, 64, **linear),
            Dense(64, DIMENSION, **linear),
            Normalize(),
        )


def _static(limit: int | None) -> StaticEmbedding:
    torch.manual_seed(1)
    tokenizer = Tokenizer.from_str(wordpiece().to_str())
    if limit:
        tokenizer.enable_truncation(limit)
    return StaticEmbedding(tokenizer, embedding_dim=DIMENSION)


def _router(folder: Path) -> None:
    config = RobertaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=40, pad_token_id=0, type_vocab_size=1, **SIZES
    )
    with _transformer(RobertaModel(config), _fast(wordpiece()), folder, max_seq_length=25) as transformer:
        router = Router.for_query_document([_static(7)], [transformer, Pooling(DIMENSION, "mean")])
        _save(folder, router, Normalize())


def _words(folder: Path) -> None:
    _save(folder, BoW(["the", "text", "query", "kind", "a", "of"], {"kind": 3.0}))


def _glove(folder: Path) -> None:
    torch.manual_seed(2)
    words = ["[PAD]", *"the text query kind a of folder model token truncation".split()]
    tokenizer = WhitespaceTokenizer(words, stop_words=[], do_lower_case=True)
    _save(folder, WordEmbeddings(tokenizer, torch.randn(len(words), DIMENSION), max_seq_length=20), Pooling(DIMENSION))


BASES: dict[str, Change] = {
    "bert": _bert(Normalize()),
    "bert cls": _bert(pooling="cls"),
    "bert cased": _bert(Normalize(), tokenizer=wordpiece(lower=False)),
    "bert types": _bert(Normalize(), tokenizer=_with_token_types()),
    "bert dense": _bert(Dense(DIMENSION, DIMENSION), Dense(DIMENSION, 24, activation_function=torch.nn.ReLU())),
    "bert linear": _bert(
        Dense(DIMENSION, 48, activation_function=torch.nn.Identity()),
        Dense(48, 24, activation_function=torch.nn.Sigmoid()),
        Normalize(),
    ),
    "dropout": _bert(Dropout()),
    "gemma": _gemma,
    "roberta": _encoder(
        RobertaModel,
        RobertaConfig(vocab_size=VOCABULARY, max_position_embeddings=42, pad_token_id=0, type_vocab_size=1, **SIZES),
    ),
    "mpnet": _encoder(
        MPNetModel, MPNetConfig(vocab_size=VOCABULARY, max_position_embeddings=42, pad_token_id=1, **SIZES)
    ),
    "distilbert": _encoder(
        DistilBertModel,
        DistilBertConfig(
            vocab_size=VOCABULARY, max_position_embeddings=42, dim=DIMENSION, n_layers=2, n_heads=4, hidden_dim=64
        ),
    ),
    "static": lambda folder: _save(folder, _static(None), Normalize()),
    "static truncated": lambda folder: _save(folder, _static(9), Normalize()),
    "router": _router,
    "router after pooling": _bert(
        Router.for_query_document(
            [Dense(DIMENSION, DIMENSION)], [Dense(DIMENSION, DIMENSION, activation_function=torch.nn.Identity())]
        )
    ),
    "words": _words,
    "glove": _glove,
}
