"""A tiny Gemma 3 encoder saved as a SentenceTransformer: random weights, the real architecture in every detail."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Gemma3TextConfig, Gemma3TextModel, PreTrainedTokenizerFast

DIMENSION = 96
WINDOW = 64
MAX_TOKENS = 192
VOCABULARY = 512
PROMPTS = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "Classification": "task: kind of text | query: ",  # not the words of the model card, as a model's own may be
    "Retrieval-document": "title: none | text: ",
    "Summarization": "task: summary | query: ",
}


def write_tiny_gemma(folder: Path) -> Path:
    """Save the model under `folder`; its vectors are `DIMENSION` wide and it reads `MAX_TOKENS` tokens."""
    torch.manual_seed(0)
    encoder = folder / "encoder"
    _encoder().save_pretrained(encoder)
    tokenizer().save_pretrained(encoder)
    transformer = Transformer(str(encoder), max_seq_length=MAX_TOKENS)
    identity = torch.nn.Identity()
    modules = [
        transformer,
        Pooling(DIMENSION, pooling_mode="mean"),
        Dense(DIMENSION, 4 * DIMENSION, bias=False, activation_function=identity),
        Dense(4 * DIMENSION, DIMENSION, bias=False, activation_function=identity),
        Normalize(),
    ]
    model = SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


def _encoder() -> Gemma3TextModel:
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=DIMENSION,
        intermediate_size=2 * DIMENSION,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=32,
        sliding_window=WINDOW,
        max_position_embeddings=MAX_TOKENS,
        use_bidirectional_attention=True,
    )
    model = Gemma3TextModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5)
    return model


def tokenizer(*special_tokens: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", *special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*PROMPTS.values(), Path(__file__).read_text()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )
