"""EmbeddingGemma 2 also reads images and sound. This finds, of its files, what reads text.

The hub's `embedding_gemma2` holds three encoders, and a processor that needs image libraries even for a text. What
reads text is a model of its own, `embedding_gemma2_text`, whose tensors are named `language_model.…` there.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from embedding.model.errors import UnsupportedModel

MULTIMODAL = "embedding_gemma2"
TEXT = "embedding_gemma2_text"
PREFIX = "language_model."
CONFIG, INDEX, TEMPLATE = "config.json", "model.safetensors.index.json", "chat_template.jinja"
MODULE, TOKENIZER = "sentence_bert_config.json", "tokenizer_config.json"
# What makes messages of texts, and the processor of images and sound.
NOT_FOR_TEXT = ("*processor_config.json", "chat_template.*")
# What a message holds is put together by a template; texts need none if it only joins them.
PROBE = [("system", "task: a | query: "), ("user", "  b <c>\n")]


def shards(index: Path) -> tuple[set[str], set[str]]:
    """The files of weights that an index names: those with anything that reads text, and the others.

    Raises OSError, or for a file that is none: ValueError, KeyError, TypeError or AttributeError.
    """
    files: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
    multimodal = _read(index.with_name(CONFIG)).get("model_type") == MULTIMODAL
    needed = {file for name, file in files.items() if name.startswith(PREFIX) or not multimodal}
    return needed, set(files.values()) - needed


@contextmanager
def text_part(folder: Path) -> Iterator[Path]:
    """A folder from which SentenceTransformer loads what reads text: `folder`, or links to its files for a while.

    Left as it is: a model of another kind, and one whose chat template does more than join a prompt and a text. Raises
    UnsupportedModel where what reads text is not to be found.
    """
    config = _read(folder / CONFIG)
    if config.get("model_type") not in (MULTIMODAL, TEXT) or not _only_joins(_chat_template(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as part:
        rewritten = _rewritten(folder, config)
        for path in folder.iterdir():
            if path.name not in rewritten and not any(fnmatch(path.name, pattern) for pattern in NOT_FOR_TEXT):
                Path(part, path.name).symlink_to(path.resolve())
        for name, content in rewritten.items():
            Path(part, name).write_text(json.dumps(content), "utf-8")
        yield Path(part)


def placeholders(folder: Path) -> tuple[list[int], int] | None:
    """The tokens that stand for an image, a video or sound, and the token that is read in their place, in a text."""
    config = _read(folder / CONFIG)
    if config.get("model_type") != MULTIMODAL:
        return None
    from transformers import EmbeddingGemma2Config

    whole: Any = EmbeddingGemma2Config.from_dict(config)  # with what the file leaves out, because it is the default
    ids, text = (whole.image_token_id, whole.video_token_id, whole.audio_token_id), whole.text_config
    return [token for token in ids if token is not None and token < text.vocab_size], text.pad_token_id or 0


def _rewritten(folder: Path, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The contents of those files that the text part has otherwise."""
    module, tokenizer, index = (_read(folder / name) for name in (MODULE, TOKENIZER, INDEX))
    files = {
        MODULE: _without(module, "modality_config", "module_output_name"),
        TOKENIZER: _without(tokenizer, "processor_class", "chat_template"),
    }
    if config["model_type"] == MULTIMODAL:
        if not any(name.startswith(PREFIX) for name in _tensor_names(folder)):
            # transformers would make the weights up.
            raise UnsupportedModel(f"the model has no tensors that are named {PREFIX}…")
        files[CONFIG] = {**config.get("text_config", {}), "model_type": TEXT}
        files[MODULE]["model_kwargs"] = {"key_mapping": {"^" + re.escape(PREFIX): ""}}
        if index:
            names = index["weight_map"].items()
            files[INDEX] = {**index, "weight_map": {name: shard for name, shard in names if name.startswith(PREFIX)}}
    return files


def _read(path: Path) -> dict[str, Any]:
    """What a JSON file holds, or nothing where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _tensor_names(folder: Path) -> Iterator[str]:
    from safetensors import safe_open

    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            yield from file.keys()


def _without(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def _chat_template(folder: Path) -> Any:
    path = folder / TEMPLATE
    return path.read_text("utf-8") if path.exists() else _read(folder / TOKENIZER).get("chat_template")


def _only_joins(template: Any) -> bool:
    """Whether a chat template makes of a prompt and a text the two, one after the other."""
    if template is None:
        return True
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in PROBE]
    try:
        rendered: Any = render_jinja_template([messages], chat_template=template)
    except (TemplateError, TypeError):
        return False
    return bool(rendered[0] == ["".join(text for _, text in PROBE)])
