"""EmbeddingGemma 2 as a SentenceTransformer in both of its layouts, with random weights; tiny, or of the real size."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    EmbeddingGemma2Config,
    EmbeddingGemma2Model,
    EmbeddingGemma2TextConfig,
    EmbeddingGemma2TextModel,
    Gemma4AudioConfig,
    Gemma4VisionConfig,
    PreTrainedTokenizerFast,
)

from tests.tiny_gemma import VOCABULARY, tokenizer

TINY: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 6,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 64,
    "sliding_window_pattern": 3,
    "hidden_size_per_layer_input": 32,
    "embedding_dim": 768,
}
TASKS = {
    "QuestionAnswering": "question answering",
    "FactChecking": "fact checking",
    "CodeRetrieval": "code retrieval",
    "Classification": "classification",
    "Clustering": "clustering",
    "SentenceSimilarity": "sentence similarity",
}
PROMPTS = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    **{name: f"task: {task} | query: " for name, task in TASKS.items()},
}
IMAGE = "<|image|>"
# Puts a mark for each image before all texts, and joins these.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{%- for item in message['content'] if item.type == 'image' -%}<|image|>"
    "{%- endfor -%}{%- endfor -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for item in message['content'] if item.type == 'text' -%}{{ item.text }}{%- endfor -%}{%- endif -%}"
    "{%- endfor -%}"
)


def write_text_layout(folder: Path) -> Path:
    """Save the model of text alone under `folder`. As with the real one, no file sets a limit of tokens."""
    torch.manual_seed(0)
    encoder = EmbeddingGemma2TextModel(EmbeddingGemma2TextConfig(**TINY)).eval()
    randomize(encoder)
    return save(encoder, tokenizer(IMAGE), folder)


def save(encoder: EmbeddingGemma2TextModel, words: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Save an encoder and its tokenizer under `folder` as the SentenceTransformer that they make."""
    encoder.save_pretrained(folder / "encoder")
    words.save_pretrained(folder / "encoder")
    modules = [Transformer(str(folder / "encoder")), Pooling(encoder.config.embedding_dim, "mean"), Normalize()]
    model = SentenceTransformer(modules=modules, prompts=PROMPTS, device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    shutil.rmtree(folder / "encoder")
    return folder / "model"


def randomize(encoder: EmbeddingGemma2TextModel, outliers: bool = False) -> None:
    """Weights as large as in a trained model; `outliers` makes a few channels large, which is hard to quantize."""
    hidden = encoder.config.hidden_size
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(1, 0.1)
            else:
                parameter.normal_(0, hidden**-0.5 if "embed_tokens" in name else parameter.shape[1] ** -0.5)
        for layer in encoder.layers:
            layer.layer_scalar.uniform_(0.5, 1.5)
            # Queries and keys of this length are as far from each other as trained ones.
            layer.self_attn.q_norm.weight.mul_(layer.self_attn.head_dim**-0.5)
        if outliers:
            add_outliers(encoder)


def add_outliers(encoder: EmbeddingGemma2TextModel) -> None:
    """Give a few channels of the residual, and all norms, the heavy tails that trained models of this family have."""
    hidden = encoder.config.hidden_size
    channels = torch.randperm(hidden)[: max(2, hidden // 128)]
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1 and "q_norm" not in name:
            parameter.copy_(torch.randn_like(parameter).mul(0.4).exp())
    encoder.embed_tokens.weight[:, channels] *= 8
    for layer in encoder.layers:
        for norm in (
            layer.post_attention_layernorm,
            layer.post_feedforward_layernorm,
            layer.ple_block.post_per_layer_input_norm,
        ):
            norm.weight[channels] = 12


def write_multimodal_layout(text_layout: Path, folder: Path, shard_size: str = "50GB") -> Path:
    """Save the same model with eyes and ears as `folder`, as the hub has it; pillow is needed to load it whole."""
    text = EmbeddingGemma2TextModel.from_pretrained(text_layout)
    words = PreTrainedTokenizerFast.from_pretrained(text_layout)
    sight = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    heads = {"num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 16, "position_embedding_size": 64}
    model = EmbeddingGemma2Model(
        EmbeddingGemma2Config(
            text_config=text.config,
            vision_config=Gemma4VisionConfig(**sight, **heads),
            audio_config=Gemma4AudioConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2),
            image_token_id=words.convert_tokens_to_ids(IMAGE),
        )
    )
    model.language_model.load_state_dict(text.state_dict())
    shutil.copytree(text_layout, folder, ignore=shutil.ignore_patterns("config.json", "model.safetensors"))
    shutil.copytree(text_layout / "1_Pooling", folder / "1_Pooling", dirs_exist_ok=True)
    model.save_pretrained(folder, max_shard_size=shard_size)
    processor = {"processor_class": "EmbeddingGemma2Processor", "image_seq_length": 280}
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    kinds = {"text": forward, "image": forward, "message": {**forward, "format": "structured"}}
    _extend(folder / "sentence_bert_config.json", modality_config=kinds, module_output_name="token_embeddings")
    _extend(folder / "tokenizer_config.json", processor_class=processor["processor_class"])
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_extractor_type": "Gemma4AudioFeatureExtractor"})
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


def _extend(path: Path, **keys: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
